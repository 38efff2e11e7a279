// The overview.

function tile(title, figure, told, lead) {
  return make("div", lead ? { class: "lead" } : {}, make("dt", {}, title), make("dd", { class: "figure" }, figure), make("dd", { class: "quiet" }, told));
}

// What nobody knows is not zero.
const amount = (cost, unpriced) => (cost || !unpriced ? cost : null);
const known = (cost, unpriced) => money(amount(cost, unpriced));
const unknown = (calls) => (calls ? `; ${plural(calls, "call", "calls")} of unknown cost` : "");

function showPlace() {
  find("place").textContent = `${data.place} · ${moment(data.made)} · version ${data.version}`;
}

function showSums() {
  const { total } = data;
  find("sums").replaceChildren(
    tile("Money saved", known(total.saved_cost, total.saved_unpriced), `${known(total.spent_cost, total.unpriced)} spent${unknown(total.unpriced)}`, true),
    tile("Time saved", duration(total.saved_seconds), `${duration(total.spent_seconds)} spent`, true),
    tile("Hit rate", share(total.hits, total.draws), `${whole(total.hits)} of ${plural(total.draws, "draw", "draws")}; ${whole(total.shared)} shared, ${whole(total.made)} made${total.similar ? `; ${whole(total.similar)} from similar calls` : ""}`),
    tile("Paid calls", whole(total.paid), `and ${whole(total.failed)} failed${total.unstored ? `; ${plural(total.unstored, "answer", "answers")} not stored` : ""}`),
    tile("Stored samples", whole(data.samples), `of ${plural(data.calls, "call", "calls")}, ${size(data.bytes)}`),
  );
}

function rate(row, sums) {
  const filled = make("i");
  filled.style.width = `${sums.draws ? (100 * sums.hits) / sums.draws : 0}%`;
  return make("span", {}, share(sums.hits, sums.draws), make("span", { class: "bar", "aria-hidden": "true" }, filled));
}

const hitRate = (of) => column("Hit rate", (row) => (of(row).draws ? of(row).hits / of(row).draws : null), (_, row) => rate(row, of(row)));

function counted(of) {
  return [
    column("Draws", (row) => of(row).draws),
    hitRate(of),
    column("Hits", (row) => of(row).hits),
    column("Shared", (row) => of(row).shared),
    column("Made", (row) => of(row).made),
    column("Saved", (row) => amount(of(row).saved_cost, of(row).saved_unpriced), money),
    column("Spent", (row) => amount(of(row).spent_cost, of(row).unpriced), money),
    column("Time saved", (row) => of(row).saved_seconds, duration),
  ];
}

const downwards = (table) => {
  table.sort(0);
  return table;
};

function showDays() {
  const spans = binned(data.days);
  const charts = [chart("Money", "cost", money, [1], spans), chart("Time", "seconds", duration, [86400, 3600, 60, 1], spans)].filter(Boolean);
  find("charts").replaceChildren(...(charts.length ? charts : [make("p", { class: "quiet" }, "Nothing was counted yet: the first draws will show here.")]));
  if (!data.total.saved_cost && !data.total.spent_cost && charts.length) find("charts").append(make("p", { class: "quiet" }, "No price is known of any call, so only time is shown."));
  find("days-details").hidden = !data.days.length;
  const itself = (day) => day;
  tabled("days", data.days, "Nothing was counted yet.", () => downwards(new Table("days", "days-title", [words("Day", (day) => day.name), ...counted(itself), column("Time spent", (day) => day.spent_seconds, duration), column("Paid calls", (day) => day.paid)], data.days, "Day")));
}

function showFunctions() {
  const sums = (each) => each.sums;
  const name = words("Function", (each) => each.sums.name, (each) => {
    const button = make("button", { type: "button", class: "as-link" }, each.sums.name);
    button.addEventListener("click", () => choose(each.sums.name));
    return button;
  });
  const stored = [column("Calls", (each) => each.calls), column("Samples", (each) => each.samples), column("Size", (each) => each.bytes, size)];
  tabled("functions", data.functions, "No function has drawn anything yet.", () => new Table("functions", "functions-title", [name, ...counted(sums), ...stored], data.functions, "Saved"));
}

function showReaders() {
  const name = words("Namespace", (each) => each.name, (each) => (each.name ? drawnLink("namespace", each.name) : make("span", { class: "quiet" }, "(none: runs)")));
  const itself = (each) => each;
  tabled("namespaces", data.namespaces, "Nothing was counted yet.", () => new Table("namespaces", "namespaces-title", [name, ...counted(itself).slice(0, 6)], data.namespaces, "Draws"));
  const amount = (calls) => {
    const filled = make("i");
    filled.style.width = `${(100 * calls) / Math.max(...data.depths.map((depth) => depth.calls))}%`;
    return make("span", {}, whole(calls), make("span", { class: "bar", "aria-hidden": "true" }, filled));
  };
  const depth = words("Samples", (each) => data.depths.indexOf(each), (each) => each.samples);
  tabled("depths", data.depths, "No sample is stored.", () => downwards(new Table("depths", "depths-title", [depth, column("Calls", (each) => each.calls, amount)], data.depths, "Samples")));
}

function showRuns() {
  const sums = (each) => each.sums;
  const name = words("Run", (each) => -each.first, (each) => drawnLink("run", each.sums.name, each.sums.name.slice(0, 10)));
  const columns = [name, words("Program", (each) => each.program), words("Begun", (each) => moment(each.first))];
  const figures = [...counted(sums).slice(0, 5), column("Paid calls", (each) => each.sums.paid), column("Spent", (each) => amount(each.sums.spent_cost, each.sums.unpriced), money), column("Time spent", (each) => each.sums.spent_seconds, duration)];
  tabled("runs", data.runs, "No run has drawn anything yet.", () => new Table("runs", "runs-title", [...columns, ...figures], data.runs, "Run"));
}

// What was lent, or looked at, with both texts: it is never silent.
function showSimilar() {
  find("similar-part").hidden = !data.similar.length;
  if (!data.similar.length) return;
  const text = (label, of) => words(label, (each) => of(each).text, (each) => make("span", { class: "summary" }, of(each).text));
  const columns = [
    words("Function", (each) => each.function),
    column("Score", (each) => each.score, (score) => score.toFixed(3)),
    words("", (each) => each.became),
    text("Asked", (each) => each.asked),
    text("Stored", (each) => each.stored),
    words("When", (each) => moment(each.at)),
  ];
  new Table("similar", "similar-title", columns, data.similar, "Score");
}

function showOverview() {
  showSums();
  showDays();
  showFunctions();
  showReaders();
  showSimilar();
  showRuns();
}

// A table of calls, and where one is read.

const address = (call) => `#call/${call.key}`;

function callColumns() {
  const call = words("Call", (each) => each.summary, (each) => make("span", {}, make("a", { href: address(each) }, each.function), make("span", { class: "summary" }, each.summary)));
  return [
    call,
    column("Samples", (each) => each.samples),
    column("Cost", (each) => each.cost, money),
    column("Time", (each) => each.seconds, duration),
    column("Tokens", (each) => each.input_tokens + each.output_tokens),
    column("Size", (each) => each.bytes, size),
    words("Last used", (each) => moment(each.used)),
  ];
}
