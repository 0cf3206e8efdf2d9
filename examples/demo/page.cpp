// SPDX-License-Identifier: MIT
#include "page.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <poise/analysis/alert_watch.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/page.hpp>
#include <poise/status/server.hpp>

namespace demo {

#if __has_include(<boost/beast/http.hpp>)

struct Page::Server : poise::status::Server {
  using poise::status::Server::Server;
};

bool has_page() { return true; }

Page::Page(std::uint16_t port, std::shared_ptr<poise::observe::Reader const> reader,
           std::function<void(poise::observe::Handler&)> const& add) {
  poise::observe::Metrics const metrics{.readers = {std::move(reader)}};
  poise::observe::Handler handler;
  poise::observe::add_metrics(handler, metrics);
  poise::observe::add_page(handler, metrics, {.notices = poise::analysis::alert_notices()});
  add(handler);
  server_ =
      std::make_unique<Server>(std::move(handler), poise::status::ServerOptions{.port = port});
}

#else

struct Page::Server {};

bool has_page() { return false; }

Page::Page(std::uint16_t, std::shared_ptr<poise::observe::Reader const>,
           std::function<void(poise::observe::Handler&)> const&) {}

#endif

Page::~Page() = default;

}  // namespace demo
