// The views, and looking again while the page is seen.

const EVERY = 2000;
let stamp = null;
let looked = null;

const VIEWS = { calls: showCalls, compare: showComparing, upkeep: showUpkeep, why: () => {}, overview: () => {} };

function route() {
  const [kindOf, name] = addressed(location.hash);
  const reads = kindOf === "call" || kindOf === "run" || kindOf === "namespace";
  const view = reads ? "reading" : Object.hasOwn(VIEWS, kindOf) ? kindOf : "overview";
  for (const main of document.querySelectorAll("main")) main.hidden = main.dataset.view !== view;
  for (const link of find("views").children) {
    const is = link.hash === (view === "overview" ? "" : `#${view}`) || (kindOf === "call" && link.hash === "#calls");
    if (is) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "overview" ? "memollm" : `${view} – memollm`;
  scrollTo(0, 0);
  if (kindOf === "call") readCall(name);
  else if (reads) readDrawn(kindOf, name);
  else VIEWS[view](name);
}

// What is not listed yet is unknown, and not nothing.
function masked(report) {
  if (looked === null) Object.assign(report, { calls: null, samples: null, bytes: null, depths: [] });
  for (const each of looked === null ? report.functions : []) Object.assign(each, { calls: null, samples: null, bytes: null });
  return report;
}

async function look(wait = true) {
  const answer = await ask("overview", { wait });
  const isFirst = data === null;
  ({ stamp, looked, abilities } = answer);
  data = masked(answer.report);
  find("place").textContent = `${data.place} · version ${data.version}`;
  showOverview();
  find("left-out").replaceChildren(...data.left_out.map((sentence) => make("li", {}, sentence)));
  find("rest").hidden = !data.left_out.length;
  if (looked === null) find("depths").replaceChildren(make("p", { class: "quiet" }, "Calls are being listed …"));
  if (isFirst) route();
  else if (!find("calls-view").hidden) showCalls();
}

function showNow(present) {
  const { lately, seconds, slots, under_way: many } = present;
  const since = seconds >= 1 ? `In the last ${seconds >= 55 ? "minute" : duration(Math.round(seconds))}: ` : "";
  const spent = amount(lately.spent_cost, lately.unpriced);
  const counted = !lately.draws && !lately.paid && !lately.failed ? "nothing was drawn" : `${plural(lately.draws, "draw", "draws")}, ${whole(lately.hits)} of them stored, ${plural(lately.paid, "paid call", "paid calls")}${lately.failed ? `, ${whole(lately.failed)} failed` : ""}${lately.paid ? `, ${money(spent)} spent` : ""}`;
  const flying = abilities.without_claims || (many ? `${plural(many, "sample is", "samples are")} being made.` : "Nothing is being made.");
  find("lately").textContent = `${flying} ${since ? `${since}${counted}.` : ""}`;
  find("under-way").replaceChildren(
    ...slots.map((each) => {
      const title = each.is_stored ? callLink(each.key, each.function) : each.function;
      const summary = make("span", { class: "summary" }, make("bdi", {}, each.summary));
      return make("li", {}, make("span", {}, title, ` · sample ${each.slot}`, summary), make("time", {}, `seen for ${duration(Math.max(0, Math.round(present.at - each.since)))}`));
    }),
    ...(many > slots.length ? [make("li", {}, `and ${whole(many - slots.length)} more`)] : []),
  );
}

async function lookAgain() {
  if (document.visibilityState === "visible") {
    try {
      const present = await ask("now");
      find("state").className = "state live";
      find("state").textContent = "Live";
      showNow(present);
      if (present.stamp !== stamp || present.looked !== looked || looked === null) await look(data !== null);
    } catch (error) {
      lost(error);
    }
  }
  setTimeout(lookAgain, EVERY);
}

addEventListener("hashchange", route);
look(false).catch(lost).finally(lookAgain);
