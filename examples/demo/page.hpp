// SPDX-License-Identifier: MIT
#pragma once

// The live page of one policy's run, for a browser: --page.

#include <cstdint>
#include <functional>
#include <memory>

#include <poise/observe/handler.hpp>
#include <poise/observe/reader.hpp>

namespace demo {

/// Can it be served? It needs Boost.Beast.
[[nodiscard]] bool has_page();

class Page {
 public:
  /// Serves until it is destroyed; `add` adds more pages. *Requires* has_page().
  Page(std::uint16_t port, std::shared_ptr<poise::observe::Reader const> reader,
       std::function<void(poise::observe::Handler&)> const& add);
  Page(Page const&) = delete;
  Page& operator=(Page const&) = delete;
  ~Page();

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace demo
