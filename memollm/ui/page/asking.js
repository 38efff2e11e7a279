// Asking the server, and saying what it refuses.

async function opened(answer) {
  if (answer.ok) return answer.json();
  throw Object.assign(new Error((await answer.text()).trim()), { status: answer.status });
}

async function ask(name, values = {}) {
  const said = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return opened(await fetch(`/api/${name}?${new URLSearchParams(said)}`));
}

async function tell(name, wish) {
  return opened(await fetch(`/api/${name}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wish) }));
}

// What is known of the cache, and what can be done with it.
let abilities = {};

const callLink = (key, text) => make("a", { href: `#call/${key}` }, text);
const hasDrawn = (kind, name) => Boolean(name) && !abilities.without_transcripts;

function lost(error) {
  find("state").className = "state lost";
  find("state").textContent = error.status ? error.message : "The server has ended. Start memollm ui again, and open its address.";
}

// Work that asks: where the server refuses, a place says why.
async function attempt(place, work) {
  try {
    place.textContent = "";
    return await work();
  } catch (error) {
    place.textContent = error.status ? error.message : "The server has ended. Start memollm ui again, and open its address.";
    return null;
  }
}

function steps(...links) {
  return make("nav", { class: "steps", "aria-label": "Ways back" }, ...links.map(([href, text]) => make("a", { href }, text)));
}

function moreButton(left, work) {
  const button = make("button", { type: "button", class: "plain more" }, `Show ${Math.min(STEP, left)} more of ${whole(left)}`);
  button.addEventListener("click", work);
  return button;
}

function choices(select, names, chosen) {
  select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
  if (names.includes(chosen)) select.value = chosen;
}
