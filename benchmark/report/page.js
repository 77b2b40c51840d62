// Sorting, filters and copying. Everything on the page is there without it.
"use strict";
const text = (row, place) => row.cells[place].textContent.trim();
const number = (cell) => (/^[-+−]?\d/.test(cell) ? parseFloat(cell.replace("−", "-").replace(/,/g, "")) : NaN);

function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
}

function sortBy(table, place, header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [x, y] = [text(a, place), text(b, place)];
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1); // empty cells stay last
    return down ? compare(y, x) : compare(x, y);
  });
  table.tBodies[0].append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, place, header));
    header.append(button);
  });
}

const filters = document.querySelector("#filters");
if (filters) {
  const rows = [...document.querySelector("#trials table").tBodies[0].rows];
  const fields = [...filters.querySelectorAll("select")];
  const words = filters.querySelector("input");
  for (const field of fields) {
    const known = [...new Set(rows.map((row) => text(row, field.dataset.column)))].sort(compare);
    field.append(...known.map((value) => new Option(value)));
  }
  const show = () => {
    let shown = 0;
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const fits = fields.every((field) => !field.value || text(row, field.dataset.column) === field.value);
      const line = wanted.length ? row.textContent.toLowerCase() : "";
      row.hidden = !(fits && wanted.every((word) => line.includes(word)));
      shown += !row.hidden;
    }
    filters.querySelector("output").textContent = `${shown} of ${rows.length} trials`;
  };
  filters.addEventListener("input", show);
  filters.hidden = false;
  show();
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const block = document.getElementById(button.dataset.of);
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block); // no clipboard from a file: select, and the reader copies
      button.textContent = "Selected: press Ctrl+C";
    }
  });
}

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
