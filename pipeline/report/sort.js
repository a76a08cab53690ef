"use strict";
// Sort tables by a column, filter their rows by text, enlarge pictures.  The page reads well without.

function sortBy(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const before = heading.getAttribute("aria-sort");
  const numeric = heading.dataset.kind === "number";
  const ascending = before ? before === "descending" : !numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.sort((a, b) => compare(a.cells[column].dataset.value, b.cells[column].dataset.value, numeric, ascending));
  body.append(...rows);
}

function compare(a, b, numeric, ascending) {
  if (a === "" || b === "") return (a === "") - (b === "");  // what could not be computed comes last
  const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
  return ascending ? order : -order;
}

function filterRows(input) {
  const table = document.getElementById(input.dataset.table);
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  const total = table.tBodies[0].rows.length;
  document.getElementById(input.dataset.count).textContent = shown === total ? "" : `${shown} of ${total} rows`;
}

for (const button of document.querySelectorAll("th button"))
  button.addEventListener("click", () => sortBy(button.closest("th")));
for (const input of document.querySelectorAll("input[data-table]")) {
  input.closest("label").hidden = false;
  input.addEventListener("input", () => filterRows(input));
}

const dialog = document.getElementById("enlarged");
dialog.addEventListener("click", () => dialog.close());
for (const button of document.querySelectorAll(".picture")) {
  button.addEventListener("click", () => {
    const scene = button.closest(".scene");
    dialog.className = scene.className;
    dialog.style.cssText = scene.style.cssText;
    dialog.replaceChildren(button.closest("figure").cloneNode(true));
    dialog.showModal();
  });
}
