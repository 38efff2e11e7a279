// What a run or a namespace drew, in the order of asking.

const drawnAddress = (kind, name) => `#${kind}/${encodeURIComponent(name)}`;

function drawnLink(kind, name, text = name) {
  return hasDrawn(kind, name) ? make("a", { href: drawnAddress(kind, name) }, text) : text;
}

function turned(turn, kind) {
  const told = [
    moment(turn.at),
    kind === "run" && turn.namespace ? `in ${turn.namespace}` : null,
    kind === "namespace" ? `run ${turn.run.slice(0, 10)}` : null,
    turn.lane ? `lane ${turn.lane}` : null,
    turn.latency ? duration(turn.latency) : null,
    turn.cost === null ? null : money(turn.cost),
  ];
  const title = make("span", {}, callLink(turn.key, turn.function), ` · sample ${turn.slot}`);
  const earlier = turn.earlier ? make("p", { class: "note" }, `${plural(turn.earlier, "message", "messages")} as before.`) : null;
  const said = turn.parts.map((part) => make("div", { class: "said" }, make("h4", {}, make("bdi", {}, part.label)), ...content(part.content)));
  const answer = turn.refusal ? [make("p", { class: "note" }, `Not shown: ${turn.refusal}.`)] : content(turn.content);
  return article(title, told.filter(Boolean).join(" · "), earlier, ...said, make("div", { class: "said answer" }, make("h4", {}, "Answer"), ...answer));
}

const drawnTitle = (kind, name) => make("h1", { tabindex: "-1" }, kind === "run" ? `Run ${name.slice(0, 10)}` : name);

function drawnFacts(kind, name) {
  const run = kind === "run" ? data.runs.find((each) => each.sums.name === name) : null;
  const known = run ? [["Program", run.program], ["Begun", moment(run.first)], ["Id", name]] : [["Namespace", name]];
  const sums = run ? run.sums : data.namespaces.find((each) => each.name === name);
  if (sums) known.push(["Draws", whole(sums.draws)], ["Paid calls", whole(sums.paid)], ["Spent", `${money(amount(sums.spent_cost, sums.unpriced))}${unknown(sums.unpriced)}`], ["Time spent", duration(sums.spent_seconds)]);
  return facts(known);
}
