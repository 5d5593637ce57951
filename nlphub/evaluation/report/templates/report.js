// Headers of the sortable tables become buttons. Without scripts the tables stay as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const rising = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const key = (row) => row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const x = parseFloat(key(a)), y = parseFloat(key(b));
        return column && !(isNaN(x) && isNaN(y)) ? (isNaN(x) ? -1 : isNaN(y) ? 1 : x - y) : key(a).localeCompare(key(b));
      };
      const rows = [...table.tBodies[0].rows].sort(compare);
      table.tBodies[0].append(...(rising ? rows : rows.reverse()));
    });
  });
}
