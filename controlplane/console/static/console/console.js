// Copy buttons, forms sent once, tabs, the live convergence page, the help of the provider form, whom a budget covers,
// what a search may send. No inline script anywhere: the page carries data attributes, this file reads them.
"use strict";

function announce(text) {
  const region = document.getElementById("gw-announce");
  if (region) region.textContent = text;
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    announce("Copied to the clipboard");
  } catch {
    // Without clipboard access (plain http from another machine) the text is selected for the keyboard.
    window.getSelection().selectAllChildren(source);
    button.textContent = "Press Ctrl+C";
    announce("The text is selected, press Control C");
  }
  window.setTimeout(() => { button.textContent = label; }, 2000);
}

function makeTabs(container) {
  const list = container.querySelector("[data-tablist]");
  const panels = [...container.querySelectorAll("[data-tab]")];
  const tabs = panels.map((panel) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${panel.id}`;
    tab.textContent = panel.dataset.tab;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.querySelector("h3")?.classList.add("visually-hidden");
    list.append(tab);
    return tab;
  });
  list.setAttribute("role", "tablist");
  list.hidden = false;
  const select = (index, focus) => tabs.forEach((tab, position) => {
    const chosen = position === index;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    panels[position].hidden = !chosen;
    if (chosen && focus) tab.focus();
  });
  list.addEventListener("click", (event) => {
    const index = tabs.indexOf(event.target);
    if (index >= 0) select(index, false);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const index = tabs.indexOf(document.activeElement);
    if (step && index >= 0) select((index + step + tabs.length) % tabs.length, true);
  });
  select(0, false);
}

function cell(row, tag, text, className) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  if (tag === "th") element.scope = "row";
  row.append(element);
  return element;
}

function podRow(pod) {
  const row = document.createElement("tr");
  cell(row, "th", pod.name);
  const state = cell(row, "td", "");
  const pill = document.createElement("span");
  pill.className = `gw-pill gw-pill-${pod.tone}`;
  pill.textContent = pod.state;
  state.append(pill);
  cell(row, "td", pod.after, "gw-number");
  cell(row, "td", pod.remark);
  return row;
}

async function watchConvergence(element) {
  let pause = 2000;
  try {
    const answer = await fetch(element.dataset.convergence, { credentials: "same-origin" });
    if (answer.ok) {
      const convergence = await answer.json();
      const summary = element.querySelector("[data-summary]");
      if (summary.textContent !== convergence.summary) summary.textContent = convergence.summary;
      if (convergence.pods.length) element.querySelector("[data-pods]").replaceChildren(...convergence.pods.map(podRow));
      element.dataset.done = String(convergence.done);
      if (convergence.done) return;
      pause = 400;
    }
  } catch {
    // The control plane is restarting: ask again.
  }
  window.setTimeout(() => watchConvergence(element), pause);
}

function explainKind(select) {
  const show = () => document.querySelectorAll("[data-kind]").forEach((help) => {
    help.hidden = help.dataset.kind !== select.value;
    if (!help.hidden) {
      const field = document.getElementById("id_base_url");
      if (field) field.placeholder = help.dataset.baseUrl || "https://…";
    }
  });
  select.addEventListener("change", show);
  show();
}

// The pattern of search_words.py. What a box of a search holds goes into an address, which browsers and proxies keep.
const CREDENTIAL = /(lw_vk_live_|lw_vk_test_|lw_at_)([0-9A-HJKMNP-TV-Z]{10})[0-9A-Z]+/gi;

function cutCredential(field) {
  if (field.tagName !== "INPUT" || field.form?.method === "post") return;
  const cut = field.value.replace(CREDENTIAL, "$1$2");
  if (cut !== field.value) field.value = cut;
}

// Before anybody else hears of it: boxes that search while one types send what they hold.
document.addEventListener("input", (event) => cutCredential(event.target), true);
document.addEventListener("submit", (event) => [...event.target.elements].forEach(cutCredential), true);

function explainScope(select) {
  const words = document.createElement("p");
  words.className = "gw-muted gw-covers";
  words.setAttribute("role", "status");
  select.after(words);
  const show = async () => {
    words.textContent = "";
    const asked = select.value;
    if (!asked) return;
    try {
      const answer = await fetch(`${select.dataset.covers}?scope=${encodeURIComponent(asked)}`, { credentials: "same-origin" });
      if (!answer.ok || select.value !== asked) return;
      const covered = await answer.json();
      const names = covered.sample.length ? ` Among the keys: ${covered.sample.join(", ")}.` : "";
      words.textContent = covered.words + names;
    } catch {
      // Only a hint: the form works without it.
    }
  };
  select.addEventListener("change", show);
  window.django?.jQuery?.(select).on("select2:select select2:clear", show); // a search box tells jQuery alone
  show();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const leave = event.target.closest("[data-leave]");
  if (leave) {
    event.preventDefault();
    window.location.replace(leave.href); // Back must not offer to send the form again
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.querySelector("[data-once]")) return;
  if (form.dataset.sent) event.preventDefault(); // the second half of a double click would throw away the first answer
  form.dataset.sent = "yes";
});

document.addEventListener("DOMContentLoaded", () => {
  // The theme's search boxes and date fields have only a placeholder for a name.
  document.querySelectorAll("input[placeholder]:not([aria-label])").forEach((field) => {
    if (!field.labels?.length) field.setAttribute("aria-label", field.placeholder);
  });
  // Before the theme makes scrollable regions of them, all of the same name.
  document.querySelectorAll("[data-simplebar]").forEach((region, number) => {
    region.dataset.simplebarAriaLabel = region.closest("nav") ? "Pages" : region.querySelector("table") ? "Rows" : `Part ${number}`;
  });
  document.querySelectorAll("[data-tabs]").forEach(makeTabs);
  document.querySelectorAll("[data-convergence]").forEach(watchConvergence);
  document.querySelectorAll("[data-covers]").forEach(explainScope);
  const kind = document.getElementById("id_kind");
  if (kind && document.querySelector("[data-kind]")) explainKind(kind);
});
