// Tables that sort, filter and show a stretch of their rows at a time.

const STEP = 50;
const column = (label, value, show = whole) => ({ label, value, show, numeric: true });
const words = (label, value, show = value) => ({ label, value, show, numeric: false });

class Table {
  constructor(place, title, columns, rows, sortedBy) {
    Object.assign(this, { columns, rows, matches: rows, shown: STEP });
    this.body = make("tbody", { role: "rowgroup" });
    this.heads = columns.map((each) => this.head(each));
    const row = make("tr", { role: "row" }, ...this.heads);
    const table = make("table", { role: "table", "aria-labelledby": title }, make("thead", { role: "rowgroup" }, row), this.body);
    this.more = make("button", { type: "button", class: "plain more" });
    this.more.addEventListener("click", () => this.showMore());
    find(place).replaceChildren(table, this.more);
    this.sort(columns.findIndex((each) => each.label === sortedBy));
  }

  head(each) {
    const button = make("button", { type: "button" }, each.label);
    const head = make("th", { scope: "col", role: "columnheader", class: each.numeric ? "number" : "words" }, button);
    button.addEventListener("click", () => this.sort(this.columns.indexOf(each)));
    return head;
  }

  // A second click on a column turns it round; figures begin with the largest. What is unknown comes last.
  sort(at) {
    this.descending = this.sortedAt === at ? !this.descending : this.columns[at].numeric;
    this.sortedAt = at;
    this.shown = STEP;
    this.toldOrder();
    this.order();
  }

  toldOrder() {
    this.heads.forEach((head, index) => {
      if (index === this.sortedAt) head.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  order() {
    const { value, numeric } = this.columns[this.sortedAt];
    const sign = this.descending ? -1 : 1;
    const order = (a, b) => (numeric ? a - b : a < b ? -1 : a > b ? 1 : 0);
    const keyed = this.rows.map((row) => [value(row), row]);
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * order(a, b)));
    this.rows = keyed.map(([, row]) => row);
    this.show();
  }

  filter(accepts) {
    this.accepts = accepts;
    this.shown = STEP;
    this.show();
  }

  show() {
    this.matches = this.accepts ? this.rows.filter(this.accepts) : this.rows;
    this.body.replaceChildren(...this.matches.slice(0, this.shown).map((row) => this.row(row)));
    this.told();
  }

  // Other rows in the order that was chosen; who stands in a row stays there.
  renew(rows) {
    const at = this.body.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.rows = rows;
    this.order();
    if (at !== null) [...this.body.querySelectorAll("a, button")].find((each) => each.textContent === at)?.focus({ preventScroll: true });
  }

  showMore() {
    const rows = this.matches.slice(this.shown, this.shown + STEP).map((row) => this.row(row));
    this.body.append(...rows);
    this.shown += STEP;
    this.told();
    rows[0].querySelector("a, button")?.focus();
  }

  told() {
    const left = this.matches.length - this.shown;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${Math.min(STEP, left)} more of ${whole(left)}`;
  }

  row(row) {
    const cells = this.columns.map(({ label, show, value, numeric }, index) => {
      const shown = numeric ? show(value(row), row) : show(row);
      const kind = numeric ? { class: "number" } : {};
      if (index === 0) return make("th", { scope: "row", role: "rowheader", ...kind }, shown);
      return make("td", { role: "cell", "data-label": label, ...kind }, shown);
    });
    return make("tr", { role: "row" }, ...cells);
  }
}

// A table in its place: a new one, or the one that is there with other rows.
const tables = new Map();

function tabled(place, rows, nothing, made) {
  const there = tables.get(place);
  if (!rows.length) {
    find(place).replaceChildren(make("p", { class: "quiet" }, nothing));
    tables.delete(place);
  } else if (there) there.renew(rows);
  else tables.set(place, made());
  return tables.get(place) || null;
}
