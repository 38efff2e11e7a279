// The report, from the data that stands in it.

data = JSON.parse(document.getElementById("data").textContent);
showPlace();
showOverview();
showCalls();
addEventListener("hashchange", route);
if (location.hash) route();
