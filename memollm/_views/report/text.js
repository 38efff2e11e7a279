"use strict";

// What everything stands on: the data, elements, and figures as people write them.

let data = null;
const find = (id) => document.getElementById(id);

// Everything that a user wrote comes into the page through here, as text: no markup is ever parsed.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const whole = (value) => (value === null ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: 0 }));
const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many}`;

function rounded(value) {
  const digits = value >= 100 ? 0 : 2;
  const options = value >= 0.1 || value === 0 ? { minimumFractionDigits: digits, maximumFractionDigits: digits } : { maximumSignificantDigits: 2 };
  return value.toLocaleString("en-US", options);
}

const money = (value) => (value === null ? "–" : `$${rounded(value)}`);

function duration(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(2))} ms`;
  if (seconds < 60) return `${Number(seconds.toPrecision(3))} s`;
  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  const [large, name, small, rest] = units.find(([unit]) => seconds >= unit);
  const left = Math.floor((seconds % large) / small);
  return `${whole(Math.floor(seconds / large))} ${name}${left ? ` ${left} ${rest}` : ""}`;
}

function size(bytes) {
  if (bytes === null) return "–";
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

const share = (part, of) => (of ? `${((100 * part) / of).toFixed(1)}%` : "–");
const two = (number) => String(number).padStart(2, "0");
const isoDay = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

function moment(seconds) {
  if (!seconds) return "–";
  const date = new Date(seconds * 1000);
  return `${isoDay(date)} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

// A sentence in which what stands between backticks is code.
const quoted = (sentence) => sentence.split("`").map((piece, at) => (at % 2 ? make("code", {}, piece) : piece));

// Light or dark: the reader's system says, unless the reader does.

const themes = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  find("theme").textContent = `Theme: ${theme}`;
}

find("theme").addEventListener("click", () => setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % themes.length]));
setTheme("auto");
