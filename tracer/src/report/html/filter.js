"use strict";
(() => {
  const box = document.getElementById("filter");
  const input = box.querySelector("input");
  const output = box.querySelector("output");
  // Read once there is something to look for: a page may have many rows.
  const read = () => Array.from(document.querySelectorAll("details.start"), (start) => ({
    start,
    list: start.querySelector("details"),
    rows: Array.from(start.querySelectorAll("tbody tr"), (row) => ({
      row,
      text: row.textContent.toLowerCase(),
    })),
  }));
  let starts;
  const filter = () => {
    starts ??= read();
    const wanted = input.value.toLowerCase();
    let [shown, all] = [0, 0];
    for (const { start, list, rows } of starts) {
      let found = 0;
      for (const { row, text } of rows) {
        row.hidden = !text.includes(wanted);
        if (!row.hidden) found += 1;
      }
      start.hidden = wanted !== "" && found === 0;
      if (list && wanted !== "" && found > 0) list.open = true;
      shown += found;
      all += rows.length;
    }
    output.textContent = wanted === "" ? "" : `${shown} of ${all}`;
  };
  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 100);
  });
  box.closest("form").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => {
    const row = location.hash && document.getElementById(location.hash.slice(1));
    if (row && row.closest("[hidden]")) {
      input.value = "";
      filter();
      row.scrollIntoView();
    }
  });
  box.hidden = false;
})();
