// Changes: what one would do is shown first, and just that is agreed to.

let agreeing = null;

async function foresee(title, verb, wish, then) {
  const told = find("foreseen-told");
  find("foreseen-title").textContent = title;
  find("foreseen-sentence").textContent = "…";
  find("foreseen-rows").replaceChildren();
  find("foreseen-calls").replaceChildren();
  find("agree").textContent = verb;
  find("agree").hidden = true;
  if (!find("foreseen").open) find("foreseen").showModal();
  const foreseen = await attempt(told, () => tell("change", wish));
  showForeseen(foreseen);
  agreeing = foreseen?.stamp ? { title, verb, wish, then, stamp: foreseen.stamp } : null;
}

function showForeseen(foreseen) {
  find("foreseen-sentence").textContent = foreseen ? foreseen.sentence : "";
  find("foreseen-rows").replaceChildren(...(foreseen?.rows.length ? [facts(foreseen.rows)] : []));
  const calls = foreseen ? foreseen.calls.map((each) => make("li", {}, `${each.function}: ${each.summary}`)) : [];
  find("foreseen-calls").replaceChildren(...(calls.length ? [make("p", { class: "quiet first" }, foreseen.sentence.startsWith("Remove") ? "The first to go:" : ""), make("ul", {}, ...calls)] : []));
  find("agree").hidden = !foreseen?.stamp;
  find("leave").textContent = foreseen?.stamp ? "Change nothing" : "Close";
  find("leave").focus();
}

async function agree() {
  if (!agreeing) return;
  const { title, verb, wish, then, stamp } = agreeing;
  agreeing = null;
  find("agree").hidden = true;
  try {
    const done = await tell("change", { ...wish, agreed: stamp });
    showForeseen(done);
    then?.();
    look();
  } catch (error) {
    if (error.status === 409) await foresee(title, verb, wish, then);
    find("foreseen-told").textContent = error.message;
  }
}

find("agree").addEventListener("click", agree);
find("leave").addEventListener("click", () => find("foreseen").close());
find("foreseen").addEventListener("close", () => { agreeing = null; });

find("prune-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wish = { change: "prune", max_bytes: find("max-bytes").value, max_samples: find("max-samples").value, older_than: find("older-than").value, policy: find("policy").value };
  foresee("Make space", "Remove them", wish, null);
});

find("rename-form").addEventListener("submit", (event) => {
  event.preventDefault();
  foresee("Adopt samples after a rename", "Adopt", { change: "adopt", name: find("from").value, to: find("to").value }, showUpkeep);
});

function adoptButton(each) {
  const button = make("button", { type: "button", class: "plain" }, "Adopt …");
  button.addEventListener("click", () => foresee("Adopt samples of older code", "Adopt", { change: "adopt", name: each.name, version: each.version }, showUpkeep));
  return button;
}

async function showUpkeep() {
  find("read-only").hidden = !abilities.without_changes;
  find("read-only").textContent = abilities.without_changes || "";
  find("changes").hidden = Boolean(abilities.without_changes);
  if (abilities.without_changes) return;
  const functions = await attempt(find("adopt-told"), () => ask("versions"));
  if (!functions) return;
  const names = functions.map((each) => each.name);
  choices(find("from"), names, find("from").value);
  choices(find("to"), names, find("to").value);
  find("rename-form").hidden = names.length < 2;
  const older = functions.flatMap(({ name, versions }) => versions.filter((each) => each.role !== "latest" && each.samples).map((each) => ({ name, ...each })));
  const columns = [
    words("Function", (each) => each.name),
    words("Version", (each) => each.version, (each) => make("code", {}, each.version)),
    column("Calls", (each) => each.calls),
    column("Samples", (each) => each.samples),
    words("Seen first", (each) => moment(each.first)),
    words("Adopt", (each) => each.role, (each) => adoptButton(each)),
  ];
  tabled("versions", older, "No sample is of older code.", () => new Table("versions", "adopt-title", columns, older, "Function"));
}
