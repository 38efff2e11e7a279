// One call, its samples beside each other.

const isCut = ({ text, length }) => [...text].length < length;

function content({ text, length }) {
  const cut = [...text].length;
  const note = cut < length ? make("p", { class: "note" }, cut ? `The first ${whole(cut)} of ${whole(length)} characters.` : `${plural(length, "character", "characters")}, for which there was no room here.`) : null;
  return [text || !length ? make("pre", { dir: "auto" }, text) : null, note];
}

function facts(pairs) {
  return make("dl", { class: "facts" }, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function article(title, told, ...children) {
  return make("article", {}, make("header", {}, make("h3", {}, title), told ? make("p", {}, told) : null), ...children);
}

function answered(answer, same) {
  const tokens = answer.input_tokens + answer.output_tokens;
  const told = [
    moment(answer.stored),
    answer.latency ? duration(answer.latency) : null,
    tokens ? plural(tokens, "token", "tokens") : null,
    answer.cost === null ? null : money(answer.cost),
  ];
  const inside = answer.refusal ? [make("p", { class: "note" }, `Not shown: ${answer.refusal}.`)] : content(answer.content);
  const title = make("span", {}, `Sample ${answer.slot}`, same === undefined ? null : make("span", { class: "same" }, `same text as ${same}`));
  return article(title, told.filter(Boolean).join(" · "), ...inside);
}

const isWhole = (answer) => !answer.refusal && !isCut(answer.content);

// Each sample, and the first that has the same text: of those that are whole here.
function beside(answers) {
  const first = new Map();
  for (const answer of answers.filter(isWhole)) if (!first.has(answer.content.text)) first.set(answer.content.text, answer.slot);
  return answers.map((answer) => {
    const same = isWhole(answer) ? first.get(answer.content.text) : answer.slot;
    return answered(answer, same === answer.slot ? undefined : same);
  });
}

// How often each answer was given, of those that several samples give.
function equalAnswers(call) {
  if (!call.equal.length) return null;
  const rows = call.equal.map(({ times, content: told }) => make("article", {}, make("header", {}, make("h3", {}, `${whole(times)} ×`)), ...content(told)));
  return make("section", {}, make("h2", {}, `Equal answers: ${whole(call.different)} different of ${plural(call.samples, "sample", "samples")}`), make("div", { class: "equal" }, ...rows));
}

function argued(parts) {
  if (!parts.length) return [make("p", { class: "note" }, "There was no room for the arguments in this page.")];
  const short = parts.filter(({ content: { text }, content }) => text.length < 60 && !text.includes("\n") && !isCut(content));
  const long = parts.filter((part) => !short.includes(part));
  const listed = short.length ? facts(short.map((part) => [part.label, make("bdi", {}, part.content.text)])) : null;
  return [...long.map((part) => article(part.label, "", ...content(part.content))), listed].filter(Boolean);
}

// All that is known of a call, below its name.
function called(call) {
  const missing = call.samples - call.answers.length;
  const note = missing > 0 ? make("p", { class: "note" }, `${whole(call.answers.length)} of ${plural(call.samples, "sample", "samples")} are in this page. All of them: `, make("code", {}, call.command)) : null;
  const known = [
    ["Samples", whole(call.samples)],
    ["Cost", money(call.cost)],
    ["Time", duration(call.seconds)],
    ["Tokens in, out", `${whole(call.input_tokens)}, ${whole(call.output_tokens)}`],
    ["Size", size(call.bytes)],
    ["First stored", moment(call.made)],
    ["Last used", moment(call.used)],
    ["In a terminal", make("code", {}, call.command)],
  ];
  return [
    facts(known),
    make("section", {}, make("h2", {}, "Arguments"), make("div", { class: "parts" }, ...argued(call.parts))),
    ...[equalAnswers(call)].filter(Boolean),
    make("section", {}, make("h2", {}, "Samples"), note, make("div", { class: "beside" }, ...beside(call.answers))),
  ];
}

// What an address behind # means: a kind, and a name.
function addressed(hash) {
  const [, kind, name] = hash.match(/^#(\w+)(?:\/(.*))?$/) || [];
  try {
    return [kind, name === undefined ? null : decodeURIComponent(name)];
  } catch {
    return [undefined, null];
  }
}
