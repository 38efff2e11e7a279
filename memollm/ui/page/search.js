// Calls by words and by figures: the server looks through all of them, and the page holds a stretch.

const ORDERS = ["name", "samples", "cost", "seconds", "tokens", "bytes", "used"];

class FoundCalls extends Table {
  order() {
    this.seek();
  }

  // One question at a time; when it is answered, the latest that came meanwhile.
  async seek(start = 0) {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      const chosen = find("function").selectedIndex;
      const answer = await ask("calls", {
        text: find("filter").value,
        function: chosen > 0 ? find("function").value : null,
        order: ORDERS[this.sortedAt],
        descending: this.descending,
        start,
        rows: start ? STEP : Math.max(STEP, this.rows.length),
      });
      this.take(answer, start);
    } catch (error) {
      find("found").textContent = error.message;
      this.opens = false;
    } finally {
      this.asking = false;
      if (this.again) {
        this.again = false;
        this.seek();
      } else if (this.opens) this.openFirst();
    }
  }

  // The first of what is sought now: where the answer is not here yet, once it is.
  openFirst() {
    this.opens = Boolean(this.asking);
    if (!this.opens) this.body.querySelector("a")?.click();
  }

  take({ calls: rows, found, of }, start) {
    const at = this.body.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.rows = start ? [...this.rows, ...rows] : rows;
    this.matches = { length: found };
    this.shown = this.rows.length;
    const added = rows.map((row) => this.row(row));
    if (start) this.body.append(...added);
    else this.body.replaceChildren(...added);
    if (start) added[0]?.querySelector("a")?.focus();
    else if (at !== null) [...this.body.querySelectorAll("a")].find((each) => each.textContent === at)?.focus({ preventScroll: true });
    this.told();
    find("found").textContent = of ? `${whole(found)} of ${plural(of, "call", "calls")}` : "No call is stored.";
  }

  showMore() {
    this.seek(this.rows.length);
  }
}

let found = null;

function seekAnew() {
  if (!found) return;
  found.rows = [];
  found.seek();
}

function showCalls() {
  const names = data ? data.functions.map((each) => each.sums.name).sort() : [];
  choices(find("function"), ["All functions", ...names], find("function").value);
  if (found) found.seek();
  else found = new FoundCalls("calls", "calls-title", callColumns(), [], "Cost");
}

function choose(name) {
  location.hash = "#calls";
  choices(find("function"), ["All functions", ...data.functions.map((each) => each.sums.name).sort()], name);
  seekAnew();
}

find("filter").addEventListener("input", seekAnew);
find("function").addEventListener("change", seekAnew);
find("filter").addEventListener("keydown", (event) => {
  if (event.key === "Enter") found?.openFirst();
});
addEventListener("keydown", (event) => {
  const writes = event.target.closest?.("input, textarea, select, dialog");
  if (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  location.hash = "#calls";
  find("calls-view").hidden = false;
  find("filter").focus();
  find("filter").select();
});
