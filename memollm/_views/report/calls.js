// The calls that are in the page, what of them is asked for, and which view is shown.

let calls = new Map();
let names = [];
let table = null;
const haystacks = new Map();

const callLink = (key, text) => (calls.has(key) ? make("a", { href: `#call/${key}` }, text) : text);
const drawnBy = (kind, name) => data.turns.filter((turn) => turn[kind] === name);
const hasDrawn = (kind, name) => drawnBy(kind, name).length > 0;

function haystack(call) {
  if (!haystacks.has(call)) {
    const texts = [...call.parts, ...call.answers].map((each) => each.content.text);
    haystacks.set(call, [call.function, call.key, call.summary, ...texts].join("\n").toLowerCase());
  }
  return haystacks.get(call);
}

function filterCalls() {
  const sought = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = find("function").selectedIndex;
  const name = chosen > 0 ? names[chosen - 1] : null;
  table?.filter((call) => (name === null || call.function === name) && sought.every((word) => haystack(call).includes(word)));
  const of = table ? table.matches.length : 0;
  find("found").textContent = `${whole(of)} of the ${plural(data.asked.length, "call", "calls")} in this page${data.asked.length < data.calls ? `, which cost most of ${whole(data.calls)}` : ""}`;
}

function choose(name) {
  find("function").selectedIndex = names.indexOf(name) + 1;
  filterCalls();
  find("calls-title").scrollIntoView();
  find("function").focus({ preventScroll: true });
}

function showCalls() {
  calls = new Map(data.asked.map((call) => [call.key, call]));
  names = [...new Set(data.asked.map((call) => call.function))].sort();
  find("function").append(...["All functions", ...names].map((name) => make("option", {}, name)));
  table = tabled("calls", data.asked, "No call is stored.", () => new Table("calls", "calls-title", callColumns(), data.asked, "Cost"));
  find("filter").addEventListener("input", filterCalls);
  find("function").addEventListener("change", filterCalls);
  filterCalls();
  find("left-out").append(...data.left_out.map((sentence) => make("li", {}, ...quoted(sentence))));
  find("rest").hidden = !data.left_out.length;
}

function neighbours(call) {
  const at = table.matches.indexOf(call);
  const link = (other, text) => (other ? make("a", { href: address(other) }, text) : null);
  return make("nav", { class: "steps", "aria-label": "Calls" }, make("a", { href: "#" }, "All calls"), link(table.matches[at - 1], "Previous"), at < 0 ? null : link(table.matches[at + 1], "Next"));
}

function read(call) {
  const title = make("h1", { tabindex: "-1" }, call.function);
  find("reading").replaceChildren(neighbours(call), title, ...called(call));
  return title;
}

function readDrawn(kind, name) {
  const turns = drawnBy(kind, name);
  const title = drawnTitle(kind, name);
  const lanes = [...new Set(turns.map((turn) => turn.lane))].sort();
  const list = make("div", { class: "parts" });
  const show = (lane) => list.replaceChildren(...turns.filter((turn) => lane === null || turn.lane === lane).map((turn) => turned(turn, kind)));
  const choice = make("select", {}, ...["All lanes", ...lanes.map((lane) => lane || "(no lane)")].map((lane) => make("option", {}, lane)));
  choice.addEventListener("change", () => show(choice.selectedIndex ? lanes[choice.selectedIndex - 1] : null));
  show(null);
  find("reading").replaceChildren(
    make("nav", { class: "steps", "aria-label": "Runs" }, make("a", { href: "#" }, "Overview")),
    title,
    drawnFacts(kind, name),
    ...(lanes.length > 1 ? [make("search", { class: "filters" }, make("label", {}, "Lane ", choice))] : []),
    make("section", {}, make("h2", {}, "In the order of asking"), list),
  );
  return title;
}

let scrolled = 0;

function route() {
  const [kind, name] = addressed(location.hash);
  const call = kind === "call" ? calls.get(name) : null;
  const drawn = kind === "run" || kind === "namespace" ? name : null;
  const is = call || (drawn !== null && hasDrawn(kind, drawn));
  if (!find("overview").hidden) scrolled = scrollY;
  find("overview").hidden = Boolean(is);
  find("reading").hidden = !is;
  document.title = is ? `${call ? call.function : `${kind} ${drawn}`} – memollm report` : "memollm report";
  if (is) {
    const title = call ? read(call) : readDrawn(kind, drawn);
    scrollTo(0, 0);
    title.focus({ preventScroll: true });
  } else scrollTo(0, scrolled);
}
