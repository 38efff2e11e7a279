// Two namespaces side by side, paired by call.

const KINDS = [
  ["", "All", () => true],
  ["vote", "Other most frequent answer"],
  ["answers", "Other answers besides"],
  ["draws", "Drawn more or less often"],
  ["unknown", "An answer cannot be read"],
  ["one", "Only the one"],
  ["other", "Only the other"],
  ["same", "The same samples or answers"],
];
let kind = "";
let paired = 0;

function side(name, given, others) {
  if (!given) return make("div", {}, make("h4", {}, make("bdi", {}, name)), make("p", { class: "quiet" }, "did not draw it"));
  const there = new Set(others ? others.answers.map(([, told]) => told.text) : []);
  const rows = given.answers.map(([times, told]) => {
    const alone = others && !there.has(told.text);
    return make("li", {}, make("span", { class: alone ? "times alone" : "times" }, `${whole(times)} ×`), make("div", {}, ...content(told)));
  });
  const rest = given.different - given.answers.length;
  const notes = [rest > 0 ? `${whole(rest)} more different answers.` : "", given.hidden ? `${plural(given.hidden, "sample", "samples")} that cannot be read.` : ""];
  return make("div", {}, make("h4", {}, make("bdi", {}, name), " · ", callLink(given.key, `${whole(given.slots)} drawn`)), make("ul", { class: "tally" }, ...rows), make("p", { class: "quiet" }, notes.filter(Boolean).join(" ")));
}

function pairShown(pair, one, other) {
  const label = KINDS.find(([name]) => name === pair.differs)[1];
  const title = make("span", {}, pair.function, make("span", { class: pair.differs === "vote" ? "badge vote" : "badge" }, label.toLowerCase()));
  const changed = pair.changed.length ? make("p", { class: "changed" }, ...pair.changed.flatMap(([path, here, there], at) => [at ? "; " : "", `${path}: `, make("bdi", {}, here), " → ", make("bdi", {}, there)])) : null;
  return article(title, make("bdi", {}, pair.summary), changed, make("div", { class: "sides" }, side(one, pair.one, pair.other), side(other, pair.other, pair.one)));
}

async function comparePairs(start = 0) {
  const [one, other] = [find("one").value, find("other").value];
  const shown = `${one}\n${other}\n${kind}`;
  find("pairs").dataset.asked = shown;
  const told = find("pairs-told");
  if (abilities.without_comparing || !one || !other || one === other) {
    told.textContent = abilities.without_comparing || (one && one === other ? "Choose two different namespaces." : "Two namespaces are needed, and this cache has fewer.");
    find("pairs").replaceChildren();
    find("kinds").replaceChildren();
    return;
  }
  const asked = { one, other, differs: kind, start, rows: STEP };
  const answer = await attempt(told, () => {
    if (!start) told.textContent = "Comparing …";
    return ask("compare", asked);
  });
  if (!answer || find("pairs").dataset.asked !== shown) return;
  showPairs(answer, one, other, start);
}

function showPairs(answer, one, other, start) {
  const all = Object.values(answer.counts).reduce((sum, each) => sum + each, 0);
  const number = (name) => (name ? answer.counts[name] : all);
  const apart = answer.apart.length ? ` Each has one value throughout, and they differ, in ${answer.apart.join(", ")}.` : "";
  const alone = answer.counts.one && answer.counts.other ? " On both sides there are calls without a pair: either the question differs, or something that is not one value throughout." : "";
  const unread = answer.unread ? ` ${plural(answer.unread, "pair was", "pairs were")} not compared: there are too many.` : "";
  find("pairs-told").textContent = `${plural(all, "pair", "pairs")}.${apart}${alone}${unread}`;
  find("kinds").replaceChildren(
    ...KINDS.filter(([name]) => number(name)).map(([name, label]) => {
      const button = make("button", { type: "button", class: "plain", "aria-pressed": String(name === kind), "data-kind": name }, `${label} ${whole(number(name))}`);
      button.addEventListener("click", async () => {
        kind = name;
        await comparePairs();
        find("kinds").querySelector(`[data-kind="${name}"]`)?.focus({ preventScroll: true });
      });
      return button;
    }),
  );
  const added = answer.pairs.map((pair) => pairShown(pair, one, other));
  find("pairs").querySelector(".more")?.remove();
  if (start) find("pairs").append(...added);
  else find("pairs").replaceChildren(...added);
  paired = start + added.length;
  if (paired < number(kind)) find("pairs").append(moreButton(number(kind) - paired, () => comparePairs(paired)));
}

function showComparing(name) {
  const names = data ? data.namespaces.map((each) => each.name).filter(Boolean).sort() : [];
  const [one, other] = (name || "").split("/").map(decoded);
  choices(find("one"), names, one || find("one").value);
  choices(find("other"), names, other || find("other").value);
  if (find("one").value === find("other").value) find("other").value = names.find((each) => each !== find("one").value) || "";
  comparePairs();
}

function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return "";
  }
}

for (const id of ["one", "other"]) {
  find(id).addEventListener("change", () => {
    kind = "";
    comparePairs();
  });
}
