// Light or dark: the reader's system says, unless the reader does.

const themes = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  find("theme").textContent = `Theme: ${theme}`;
}

find("theme").addEventListener("click", () => setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % themes.length]));
setTheme("auto");
showSums();
showDays();
showFunctions();
showReaders();
showSimilar();
showRuns();
showCalls();
addEventListener("hashchange", route);
if (location.hash) route();
