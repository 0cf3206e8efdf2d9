// SPDX-License-Identifier: MIT
#pragma once

// The live page's script, third part: why a backend is passed over, and what a pick for a key would
// do, as the server explains it (analysis/pages.hpp). All of it is shown as text only.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_explanations = R"js(
// The explanations of one balancer. `base` is the path below which the server has them, or null.
class Explanations {
  constructor() {
    Object.assign(this, {base: null, id: null, asked: 0});
    $('ask').addEventListener('click', () => this.ask());
    $('key').addEventListener('keydown', event => event.key === 'Enter' && this.ask());
  }
  // `path` is the id within an address, if its text is not the id itself.
  show(base, id, path) {
    $('explanations').hidden = base === null;
    const isOther = id !== this.id || base !== this.base;
    if (isOther) this.clear();
    [this.base, this.id] = [base, id];
    this.path = path || encodeURIComponent(id);
    if (base !== null && (isOther || Date.now() - this.asked >= 2000)) this.why();
  }
  clear() {
    for (const part of ['why', 'explanation']) set_text($(part), '');
    $('key').value = '';
  }
  why() {
    this.asked = Date.now();
    this.load($('why'), `why/${this.path}`);
    $('why-link').href = `${this.base}why/${this.path}`;
  }
  ask() {
    this.load($('explanation'), `explain?key=${encodeURIComponent($('key').value)}`);
  }
  async load(node, path) {
    const {id} = this;
    const text = await fetch(this.base + path).then(answer => answer.text(),
      () => 'the server does not answer');
    if (id === this.id) set_text(node, text.trim());
  }
}
)js";

}  // namespace poise::inline v0_1_0::observe::detail
