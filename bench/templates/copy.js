"use strict";
// The tables that are seen as LaTeX, Markdown and CSV, for the clipboard. One script with page.js, which follows.
const cell_text = cell => {
  const copied = cell.cloneNode(true);
  for (const one of copied.querySelectorAll("details, .tag, .chip, .easy")) one.remove();
  const small = copied.querySelector("small")?.textContent.trim();
  copied.querySelector("small")?.remove();
  return copied.textContent.replace(/\s+/g, " ").trim() + (small ? ` (${small})` : "");
};
const seen = table => [table.tHead.rows[0], ...table.tBodies[0].rows].filter(row => row.checkVisibility())
  .map(row => [...row.cells].filter(cell => !cell.hidden).map(cell_text));
const TEX = { "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "±": "$\\pm$", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "\"": "''" };
const tex = text => text.replace(/[\\{}$&#%_^~±<>|"]/g, one => TEX[one]);
const markdown = text => text.replace(/[&<>]/g, one => `&#${one.charCodeAt(0)};`).replace(/[\\`*~|]/g, "\\$&");
// A spreadsheet would compute what begins like a formula, and a name may.
const field = text => {
  const plain = /^[=+@\t\r]|^-(?!\d)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
};
const named = (title, [head, ...rows]) => [["data set", ...head], ...rows.map(row => [title, ...row])];
const COPIES = {
  LaTeX: (title, [head, ...rows]) => [
    `% ${title.replace(/\s+/g, " ")}; needs \\usepackage{booktabs}`, `\\begin{tabular}{${"l".repeat(Math.min(3, head.length))}${"r".repeat(Math.max(0, head.length - 3))}}`, "\\toprule",
    `${head.map(tex).join(" & ")} \\\\`, "\\midrule", ...rows.map(row => `${row.map(tex).join(" & ")} \\\\`), "\\bottomrule", "\\end{tabular}",
  ].join("\n"),
  Markdown: (title, [head, ...rows]) => [
    `**${markdown(title)}**`, "", ...[head, head.map(() => "---"), ...rows].map(row => `| ${row.map(markdown).join(" | ")} |`),
  ].join("\n"),
  CSV: (title, rows) => rows.map(row => row.map(field).join(",")).join("\n"),
};

async function copy(kind, tables) {
  const text = tables.map(([title, rows]) => COPIES[kind](title, rows)).join("\n\n") + "\n";
  const dialog = document.getElementById("copied"), field = dialog.querySelector("textarea");
  field.value = text;
  dialog.querySelector("h2").textContent = kind;
  dialog.showModal();
  field.select();
  try {
    await navigator.clipboard.writeText(text);
    announce(`${kind} copied`);
  } catch { // not allowed from a file in some browsers: the text stands in the dialog, selected
    announce(`${kind}: copy the selected text`);
  }
}
