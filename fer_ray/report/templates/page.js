"use strict";
// Tables that sort and filter, a viewer for the images behind a confusion matrix, and a comparison
// of selected experiments. Without scripts, the page shows the same content.
document.addEventListener("DOMContentLoaded", () => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A number in a cell; durations in seconds; NaN if the cell has none.
  const parseCell = text => {
    const plain = text.replace(/−/g, "-").replace(/,/g, "");
    const duration = plain.match(/^(?:(\d+) h )?(?:(\d+) min)?(?: ?([\d.]+) s)?$/);
    if (duration && plain) return 3600 * (duration[1] || 0) + 60 * (duration[2] || 0) + +(duration[3] || 0);
    const number = plain.match(/-?\d+(?:\.\d+)?(?:e[-+]?\d+)?/);
    return number ? parseFloat(number[0]) : NaN;
  };

  const sortRows = (table, column, descending, numeric) => {
    const key = row => {
      const text = row.cells[column] ? row.cells[column].innerText.trim() : "";
      return numeric ? parseCell(text) : text;
    };
    const rows = [...table.tBodies[0].rows].map(row => [key(row), row]);
    const sign = descending ? -1 : 1;
    rows.sort(([a], [b]) => {
      if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
      return Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  const makeSortable = table => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("n");
        const before = head.getAttribute("aria-sort");
        const descending = before ? before === "ascending" : numeric;
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sortRows(table, column, descending, numeric);
      });
    });
  };

  const makeFilter = (box, table) => {
    const rows = [...table.tBodies[0].rows];
    const label = `Filter: ${box.getAttribute("aria-label")}`;
    const input = make("input", { type: "search", placeholder: "Filter rows", ariaLabel: label });
    const count = make("span", { className: "sub", role: "status" });
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach(row => {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
      });
      const shown = rows.filter(row => !row.hidden).length;
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
    box.before(make("div", { className: "filter" }, input, count));
  };

  all(".scroll").forEach(box => {
    const table = box.querySelector("table:not(.matrix)");
    if (!table || !table.tHead) return;
    if (table.tBodies[0].rows.length > 1) makeSortable(table);
    if (table.tBodies[0].rows.length > 7) makeFilter(box, table);
  });

  const heading = make("h2", { id: "viewer-title" });
  const content = make("div");
  const close = make("button", { type: "button", className: "button" }, "Close");
  const viewer = make("dialog", { className: "viewer" }, make("header", {}, heading, close), content);
  viewer.setAttribute("aria-labelledby", heading.id);
  close.addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", event => { if (event.target === viewer) viewer.close(); });
  document.body.append(viewer);
  const show = (title, ...nodes) => {
    heading.textContent = title;
    content.replaceChildren(...nodes);
    if (!viewer.open) viewer.showModal();
    viewer.scrollTop = 0;
  };

  const openAncestors = element => {
    for (let node = element; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
  };
  document.addEventListener("click", event => {
    const link = event.target.closest("a[href^='#']");
    const target = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!target) return;
    if (link.closest(".matrix")) {
      event.preventDefault();
      const [name, count] = target.cells;
      show(`${name.textContent}: ${count.textContent}`, target.querySelector(".images").cloneNode(true));
    } else {
      openAncestors(target);
    }
  });
  if (location.hash.length > 1) {
    const target = document.getElementById(location.hash.slice(1));
    openAncestors(target);
    if (target) target.scrollIntoView();
  }

  const folds = all("details.fold");
  const toggle = make("button", { type: "button", className: "link" }, "Open all");
  toggle.addEventListener("click", () => {
    const open = folds.some(fold => !fold.open);
    folds.forEach(fold => { fold.open = open; });
    toggle.textContent = open ? "Close all" : "Open all";
  });
  const nav = document.querySelector("nav");
  if (nav && folds.length) nav.append(toggle);

  const experiments = all("tr[data-experiment]");
  const boxes = experiments.map(row => {
    const box = make("input", { type: "checkbox" });
    const name = row.cells[0].querySelector("code, .id") || row.cells[0];
    row.cells[0].prepend(make("label", { className: "choose" }, box, " compare"));
    box.ariaLabel = `Compare ${name.textContent.trim()}`;
    box.addEventListener("change", () => update());
    return box;
  });
  const status = make("span", { role: "status" });
  const compare = make("button", { type: "button", className: "button" }, "Compare");
  const clear = make("button", { type: "button", className: "link" }, "Clear");
  const bar = make("div", { className: "bar", hidden: true }, status, compare, clear);
  document.body.append(bar);
  const update = () => {
    const count = boxes.filter(box => box.checked).length;
    bar.hidden = count === 0;
    compare.disabled = count < 2;
    status.textContent = count === 1 ? "1 experiment selected" : `${count} experiments selected`;
  };
  clear.addEventListener("click", () => {
    boxes.forEach(box => { box.checked = false; });
    update();
  });

  const copyTable = (rows, label) => {
    const source = rows[0].closest("table");
    const body = make("tbody", {}, ...rows.map(row => row.cloneNode(true)));
    const table = make("table", {}, source.tHead.cloneNode(true), body);
    all(".choose", table).forEach(box => box.remove());
    all("button", table.tHead).forEach(button => button.replaceWith(...button.childNodes));
    const scroll = make("div", { className: "scroll", tabIndex: 0, role: "region" }, table);
    scroll.setAttribute("aria-label", label);
    return scroll;
  };
  compare.addEventListener("click", () => {
    const rows = experiments.filter((row, at) => boxes[at].checked);
    const names = rows.map(row => row.dataset.experiment);
    const nodes = [copyTable(rows, "Selected experiments")];
    const comparable = rows.every(row => row.parentElement === rows[0].parentElement);
    const pairs = all("tr[data-first]").filter(row =>
      names.includes(row.dataset.first) && names.includes(row.dataset.second));
    if (!comparable) {
      nodes.push(make("p", { className: "warn" }, "These experiments have different splits or "
        + "test images, so their figures are not directly comparable."));
    }
    if (pairs.length) nodes.push(copyTable(pairs, "Paired differences"));
    const matrices = names.map(name =>
      all("figure[data-experiment]").find(figure => figure.dataset.experiment === name));
    const grid = make("div", { className: "grid" });
    matrices.filter(Boolean).forEach(figure => grid.append(figure.cloneNode(true)));
    show(`${names.length} experiments`, ...nodes, grid);
  });
});
