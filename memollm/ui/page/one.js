// One call, why it was made, and what a run or a namespace drew.

function drawnByWhom(readers) {
  const named = readers.filter((each) => each.kind === "namespace");
  const runs = readers.filter((each) => each.kind === "run");
  const lanes = (each) => (each.lanes.length ? ` in ${plural(each.lanes.length, "lane", "lanes")}` : "");
  const told = named.map((each) => make("li", {}, drawnLink("namespace", each.name), `: ${whole(each.draws)} drawn${lanes(each)}`));
  if (runs.length) told.push(make("li", {}, `${plural(runs.length, "run", "runs")} without a namespace: ${whole(runs.reduce((sum, each) => sum + each.draws, 0))} drawn`));
  if (!told.length) told.push(make("li", {}, "nobody with a cursor (pool=1 keeps none)"));
  return make("section", {}, make("h2", {}, "Drawn by"), make("ul", { class: "quiet" }, ...told));
}

function reasoned(reasons) {
  const head = reasons.samples ? `${plural(reasons.samples, "sample is", "samples are")} stored of this call.` : "Nothing is stored of this call.";
  const near = reasons.near.map((each) => {
    const different = each.differences.map((of) =>
      make("div", { class: "said" }, make("h4", {}, make("bdi", {}, of.path)), of.code ? make("pre", { dir: "auto" }, `The code has changed since:\n${of.code}`) : make("pre", { dir: "auto" }, `${of.here} here, ${of.stored} stored`)),
    );
    return article(make("span", {}, callLink(each.key, each.key.slice(0, 12)), make("span", { class: "badge" }, plural(each.samples, "sample", "samples"))), `differs in ${plural(each.differences.length, "place", "places")}`, ...different);
  });
  return [make("p", { class: "quiet" }, head), reasons.note ? make("pre", { class: "code" }, reasons.note) : null, ...near].filter(Boolean);
}

function whyMade(key) {
  const place = make("div", { class: "parts" });
  const told = make("p", { class: "note", role: "status" });
  const details = make("details", {}, make("summary", {}, "Why was it no hit when it was made?"), told, place);
  details.addEventListener("toggle", async () => {
    if (!details.open || place.childElementCount) return;
    const answers = await attempt(told, () => ask("why", { key }));
    if (answers) place.replaceChildren(make("p", { class: "quiet" }, "The nearest calls that were stored before it, and what differs:"), ...answers.flatMap(reasoned).filter((each) => each.className !== "quiet"));
  });
  return make("section", {}, details);
}

function oneCall({ call, readers }, key, samples) {
  const left = call.samples - call.answers.length;
  const more = left > 0 && call.answers.length ? moreButton(left, () => readCall(key, samples + 10 * STEP)) : null;
  const forget = make("button", { type: "button", class: "plain grave" }, "Forget this call …");
  forget.addEventListener("click", () => foresee("Forget a call", "Forget", { change: "forget", keys: [key] }, () => { location.hash = "#calls"; }));
  return [...called(call), more, drawnByWhom(readers), whyMade(key), abilities.without_changes ? null : make("div", { class: "act" }, forget)].filter(Boolean);
}

async function readCall(key, samples = STEP) {
  const place = find("reading");
  const title = make("h1", { tabindex: "-1" }, "…");
  const told = make("p", { class: "note", role: "status" });
  const isNew = place.dataset.shown !== location.hash;
  if (isNew) place.replaceChildren(steps(["#calls", "Calls"], ["#", "Overview"]), title, told);
  const shown = location.hash;
  const answers = await attempt(told, () => ask("call", { key, samples }));
  if (location.hash !== shown || !answers) return;
  place.dataset.shown = shown;
  title.textContent = answers[0].call.function;
  document.title = `${answers[0].call.function} – memollm`;
  place.replaceChildren(steps(["#calls", "Calls"], ["#", "Overview"]), title, told, ...answers.flatMap((each) => oneCall(each, key, samples)));
  if (isNew) title.focus({ preventScroll: true });
}

async function readDrawn(kind, name) {
  const shown = location.hash;
  const title = drawnTitle(kind, name);
  const told = make("p", { class: "note", role: "status" });
  const list = make("div", { class: "parts" });
  const rest = make("div");
  const choice = make("select", {}, make("option", {}, "All lanes"));
  const lanes = make("search", { class: "filters", hidden: "" }, make("label", {}, "Lane ", choice));
  const heading = make("h2", {}, "In the order of asking");
  const others = kind === "namespace" ? data.namespaces.map((each) => each.name).filter((each) => each && each !== name) : [];
  const beside = others.length ? make("a", { href: `#compare/${encodeURIComponent(name)}` }, "Compare it with another") : null;
  find("reading").dataset.shown = shown;
  find("reading").replaceChildren(steps(["#", "Overview"]), title, drawnFacts(kind, name), ...(beside ? [make("p", { class: "quiet" }, beside)] : []), lanes, told, make("section", {}, heading, list, rest));
  title.focus({ preventScroll: true });
  let drawn = 0;
  const names = [];
  const read = async (start) => {
    const lane = choice.selectedIndex ? names[choice.selectedIndex - 1] : null;
    const answer = await attempt(told, () => ask("drawn", { [kind]: name, lane, start, rows: STEP }));
    if (!answer || location.hash !== shown) return;
    if (!start && lane === null && names.length === 0) {
      names.push(...answer.lanes);
      choice.append(...names.map((each) => make("option", {}, each || "(no lane)")));
      lanes.hidden = names.length < 2;
    }
    drawn = start ? drawn : 0;
    const added = answer.turns.map((turn) => turned(turn, kind));
    if (start) list.append(...added);
    else list.replaceChildren(...added);
    drawn = start + added.length;
    heading.textContent = `In the order of asking: ${plural(answer.drawn, "sample", "samples")}`;
    const left = answer.drawn - drawn;
    rest.replaceChildren(...(left > 0 && added.length ? [moreButton(left, () => read(drawn))] : []));
  };
  choice.addEventListener("change", () => read(0));
  await read(0);
}

find("why-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = find("reasons");
  const told = make("p", { class: "note" });
  place.replaceChildren(told);
  const reasons = await attempt(told, () => tell("explain", { form: find("form").value }));
  if (reasons) place.replaceChildren(make("h2", {}, reasons.samples ? callLink(reasons.key, `A hit: ${reasons.function}`) : `A miss: ${reasons.function}`), ...reasoned(reasons));
});
