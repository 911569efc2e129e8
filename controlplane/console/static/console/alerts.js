// Forms of alert rules and channels: shows the parts that the chosen kind has, under the names that it gives them.
"use strict";

function fitToKind(select) {
  const name = (id, text, placeholder) => {
    const label = document.querySelector(`label[for="${id}"]`);
    const field = document.getElementById(id);
    if (label && text) label.textContent = text;
    if (field) field.placeholder = placeholder;
  };
  const show = () => {
    document.querySelectorAll('fieldset[class*="gw-for-"]').forEach((part) => {
      part.hidden = !part.classList.contains(`gw-for-${select.value}`);
    });
    const help = document.querySelector(`[data-kind="${select.value}"]`);
    if (!help) return;
    name("id_address", help.dataset.addressLabel, help.dataset.address);
    name("id_secret", help.dataset.secretLabel, "");
  };
  select.addEventListener("change", show);
  show();
}

document.addEventListener("DOMContentLoaded", () => {
  const kind = document.getElementById("id_kind");
  if (kind) fitToKind(kind);
});
