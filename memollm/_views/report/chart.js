// Figures over days: what was spent, and on top of it what the stored samples saved.

const DAY = 86400000;
const TICKS = 3;

// A day's date in UTC, so that all days are equally long.
const dayOf = (name) => Date.parse(`${name}T00:00:00Z`);

// What a bar stands for, up to how many days, and when it begins; days without a draw have their places.
const UNITS = [
  ["day", 62, (time) => time],
  ["week", 400, (time) => time - ((new Date(time).getUTCDay() + 6) % 7) * DAY],
  ["month", 3700, (time) => dayOf(`${new Date(time).toISOString().slice(0, 7)}-01`)],
  ["year", Infinity, (time) => dayOf(`${new Date(time).toISOString().slice(0, 4)}-01-01`)],
];

function binned(days) {
  const dated = days.filter((day) => !Number.isNaN(dayOf(day.name)));
  if (!dated.length) return { unit: "day", bins: [] };
  const first = dayOf(dated[0].name);
  const last = dayOf(dated[dated.length - 1].name);
  const [unit, , start] = UNITS.find(([, longest]) => last - first < longest * DAY);
  const bins = new Map();
  for (let time = first; time <= last; time += DAY) bins.set(start(time), []);
  for (const day of dated) bins.get(start(dayOf(day.name))).push(day);
  return { unit, bins: [...bins].map(([time, inside]) => ({ name: new Date(time).toISOString().slice(0, 10), inside })) };
}

// The top of an axis whose ticks are round: of time, in the largest unit that it reaches.
function ceiling(value, units) {
  const least = value / TICKS;
  const unit = units.find((each) => least >= each) || units[units.length - 1];
  const power = unit * 10 ** Math.floor(Math.log10(least / unit));
  return TICKS * power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= least * 0.999999);
}

function chart(title, what, show, units, { unit, bins }) {
  const stacks = bins.map(({ name, inside }) => {
    const added = (field) => inside.reduce((sum, day) => sum + day[field], 0);
    return { name, spent: added(`spent_${what}`), saved: added(`saved_${what}`) };
  });
  const top = Math.max(...stacks.map(({ spent, saved }) => spent + saved), 0);
  if (!top) return null;
  const frame = make("div");
  const caption = make("figcaption", {}, make("strong", {}, `${title} a ${unit}`), make("span", { class: "key" }, "saved"), make("span", { class: "key spent" }, "spent"));
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(frame.clientWidth);
    if (width && width !== drawn) frame.replaceChildren(bars(stacks, ceiling(top, units), width, title, show));
    drawn = width;
  }).observe(frame);
  return make("figure", {}, caption, frame);
}

function bars(stacks, top, width, title, show) {
  const [height, left, bottom, above] = [190, 64, 20, 8];
  const y = (value) => above + (height - above - bottom) * (1 - value / top);
  const step = (width - left) / stacks.length;
  const totals = ["saved", "spent"].map((name) => `${show(stacks.reduce((sum, stack) => sum + stack[name], 0))} ${name}`);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${totals.join(", ")}.` });
  for (let tick = 0; tick <= TICKS; tick += 1) {
    const value = (top * tick) / TICKS;
    svg.append(draw("line", { x1: left, x2: width, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, show(value)));
  }
  stacks.forEach(({ name, spent, saved }, at) => {
    const across = { x: left + step * (at + 0.14), width: Math.max(1, Math.min(step * 0.72, 48)) };
    const told = draw("title", {}, `${name}: ${show(saved)} saved, ${show(spent)} spent`);
    const below = draw("rect", { class: "spent", ...across, y: y(spent), height: y(0) - y(spent) });
    const over = draw("rect", { class: "saved", ...across, y: y(spent + saved), height: y(spent) - y(spent + saved) });
    svg.append(draw("g", {}, told, below, over));
  });
  const ends = { start: stacks[0].name, end: stacks.length > 1 ? stacks[stacks.length - 1].name : "" };
  svg.append(draw("text", { x: left, y: height - 4 }, ends.start));
  svg.append(draw("text", { x: width, y: height - 4, "text-anchor": "end" }, ends.end));
  return svg;
}
