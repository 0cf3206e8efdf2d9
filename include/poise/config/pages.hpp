// SPDX-License-Identifier: MIT
#pragma once

// The pages of a service: one handler for a server, which passes requests on to the pages of the
// configuration in force.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <poise/observe/feed.hpp>
#include <poise/observe/handler.hpp>

namespace poise::inline v0_1_0::config::detail {

/// Pages that can be exchanged while a server serves them. *Threads* any.
class Pages {
 public:
  Pages() = default;
  Pages(Pages const&) = delete;
  Pages& operator=(Pages const&) = delete;
  ~Pages() = default;

  void set(observe::Handler handler) {
    auto fresh = std::make_shared<observe::Handler const>(std::move(handler));
    std::scoped_lock const lock{mutex_};
    handler_.swap(fresh);
  }
  [[nodiscard]] std::shared_ptr<observe::Handler const> current() const {
    std::scoped_lock const lock{mutex_};
    return handler_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<observe::Handler const> handler_ = std::make_shared<observe::Handler const>();
};

/// A stream ends when its pages were exchanged: its viewer connects again, and gets the new ones.
inline observe::HttpResponse forward(std::shared_ptr<Pages> const& pages,
                                     observe::HttpRequest request) {
  request.host = "localhost";  // the server's handler has judged the host
  auto const handler = pages->current();
  auto response = (*handler)(request);
  if (response.stream)
    response.stream->next = [pages, handler, next = std::move(response.stream->next)] {
      return pages->current() == handler ? next() : std::nullopt;
    };
  return response;
}

/// A handler that passes on to the pages of the moment, and runs their tasks.
[[nodiscard]] inline observe::Handler forwarding(std::shared_ptr<Pages> const& pages,
                                                 observe::HandlerOptions options) {
  observe::Handler handler{std::move(options)};
  auto const route = [pages](observe::HttpRequest const& request) {
    return forward(pages, request);
  };
  for (auto const* const path :
       {"/", "/events", "/metrics", "/json", "/text", "/healthz", "/explain"})
    handler.add(path, route);
  handler.add_below("/why/", route);
  handler.every(observe::Feed::period, [pages] {
    auto const current = pages->current();
    for (auto const& task : current->tasks()) task.run();
  });
  return handler;
}

}  // namespace poise::inline v0_1_0::config::detail
