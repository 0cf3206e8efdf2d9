// SPDX-License-Identifier: MIT
#pragma once

// The live page's colours as CSS, light and dark, for pages and pictures that stand beside it.
//
// Text has a contrast of 4.5 and more, marks of 3 and more. Lines are in Okabe and Ito's colours,
// which colour-blind people can tell apart, or close to them.

#include <string_view>

namespace poise::inline v0_1_0::observe {

/// Custom properties of the root: --back behind all, --card behind what is shown, --line between,
/// --text, --faint, --good, --warn, --bad, --a to --g for lines and --rest for all others.
inline constexpr std::string_view page_colours = R"css(
:root {
  --back: #f3f5f8; --card: #ffffff; --raised: #eef1f5; --line: #d9dee5; --text: #131820;
  --faint: #525d6b; --edge: #78838f;
  --good: #0b6e4f; --warn: #7d5200; --bad: #b3261e; --info: #0a5ea8;
  --good-back: #e4f4ec; --warn-back: #fff1d1; --bad-back: #fde7e5;
  --a: #0072b2; --b: #d55e00; --c: #009e73; --d: #a3468a; --e: #8a6d00; --f: #4b4b9c;
  --g: #6f4e37; --rest: #a3adb8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #0e1116; --card: #171b22; --raised: #222832; --line: #2e3641; --text: #e8ecf1;
    --faint: #a3afbd; --edge: #6d7885;
    --good: #4fd1a1; --warn: #f0b429; --bad: #ff8a80; --info: #7cc4ff;
    --good-back: #10291f; --warn-back: #30260a; --bad-back: #391715;
    --a: #56b4e9; --b: #ff8c42; --c: #2fc79a; --d: #e29cc6; --e: #e8d94a; --f: #a9a9f5;
    --g: #c9a184; --rest: #5f6b79;
  }
}
)css";

}  // namespace poise::inline v0_1_0::observe
