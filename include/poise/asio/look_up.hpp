// SPDX-License-Identifier: MIT
#pragma once

// Looks names up for probes, so that a resolver that hangs does not make backends look bad.
//
// A name that was found before is answered at once with its last addresses. Meanwhile it is looked
// up again, and the next probe uses the new addresses. A probe waits only for the first look-up of
// a name. Look-ups run on up to eight threads, so a look-up that hangs delays no other name. Each
// name has at most one look-up in progress. If a name no longer exists, its addresses are
// forgotten. If the resolver does not answer, or asks to try again, they stay.
//
// There is one per execution context. The context's destructor waits for the look-ups in progress,
// as it does for Asio's own resolver.

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/execution_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>

namespace poise::inline v0_1_0::asio::detail {

/// *Threads* any.
class LookUps final : public ::asio::execution_context::service {
 public:
  using key_type = LookUps;
  struct Found {
    std::error_code error{};
    std::vector<::asio::ip::address> addresses{};
  };
  using Resolve = std::function<Found(std::string const& name)>;
  using Answer = std::function<void(Found const&)>;

  inline static ::asio::execution_context::id id{};
  static constexpr std::size_t max_threads = 8;

  explicit LookUps(::asio::execution_context& context)
      : ::asio::execution_context::service{context} {}
  LookUps(LookUps const&) = delete;
  LookUps& operator=(LookUps const&) = delete;
  ~LookUps() override { LookUps::shutdown(); }

  [[nodiscard]] static LookUps& of(::asio::any_io_executor const& executor) {
    return ::asio::use_service<LookUps>(::asio::query(executor, ::asio::execution::context));
  }

  /// Replaces getaddrinfo, for tests. Not while look-ups run.
  void resolve_by(Resolve resolve) { resolve_ = std::move(resolve); }

  /// Calls `answer` once on the executor; never if the context is destroyed first.
  void find(::asio::any_io_executor const& executor, std::string const& name, Answer answer) {
    std::scoped_lock const lock{mutex_};
    if (stopping_) return;
    forget_unused();
    auto& entry = names_[name];
    entry.used = ++uses_;
    if (!entry.found.addresses.empty()) {
      ::asio::post(executor, [found = entry.found, then = std::move(answer)] { then(found); });
    } else {
      // Probes that waited this long have timed out.
      if (entry.waiting.size() == max_waiting) entry.waiting.pop_front();
      entry.waiting.push_back(
          {::asio::prefer(executor, ::asio::execution::outstanding_work.tracked),
           std::move(answer)});
    }
    if (!std::exchange(entry.running, true)) enqueue(name);
  }

 private:
  struct Waiting {
    ::asio::any_io_executor executor;
    Answer answer;
  };
  struct Name {
    Found found{};
    std::deque<Waiting> waiting{};
    bool running = false;
    std::uint64_t used = 0;
  };
  static constexpr std::size_t max_waiting = 16;
  static constexpr std::size_t max_names = 65'536;

  void shutdown() noexcept override {
    {
      std::scoped_lock const lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    names_.clear();
  }

  void enqueue(std::string const& name) {
    queue_.push_back(name);
    if (idle_ < queue_.size() && threads_.size() < max_threads)
      threads_.emplace_back([this] { work(); });
    changed_.notify_one();
  }

  void work() {
    std::unique_lock lock{mutex_};
    while (!stopping_) {
      if (queue_.empty()) {
        ++idle_;
        changed_.wait(lock);
        --idle_;
        continue;
      }
      auto const name = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      auto found = resolve_(name);
      lock.lock();
      if (!stopping_) take(names_[name], std::move(found));
    }
  }

  static void take(Name& name, Found found) {
    name.running = false;
    bool const keeps = found.error && found.error != ::asio::error::host_not_found;
    if (!keeps || name.found.addresses.empty()) name.found = std::move(found);
    for (auto& each : std::exchange(name.waiting, {}))
      ::asio::post(each.executor,
                   [result = name.found, then = std::move(each.answer)] { then(result); });
    if (name.found.error) name.found = {};
  }

  /// Forgets the names of removed backends.
  void forget_unused() {
    if (names_.size() < max_names) return;
    std::erase_if(names_, [&](auto const& each) {
      return !each.second.running && each.second.used + max_names / 2 < uses_;
    });
  }

  static Found resolve_by_system(std::string const& name) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    int const result = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
    if (result != 0) return {error_of(result, errno), {}};
    std::unique_ptr<addrinfo, void (*)(addrinfo*)> const owner{list, &::freeaddrinfo};
    Found found;
    for (auto const* each = list; each != nullptr; each = each->ai_next) {
      ::asio::ip::tcp::endpoint endpoint;
      if (each->ai_addrlen > endpoint.capacity()) continue;
      std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
      endpoint.resize(each->ai_addrlen);
      found.addresses.push_back(endpoint.address());
    }
    return found;
  }
  static std::error_code error_of(int result, int system_error) {
    switch (result) {
      case EAI_NONAME: return ::asio::error::host_not_found;
      case EAI_AGAIN: return ::asio::error::host_not_found_try_again;
      case EAI_FAIL: return ::asio::error::no_recovery;
      case EAI_MEMORY: return std::make_error_code(std::errc::not_enough_memory);
      case EAI_SYSTEM: return {system_error, std::generic_category()};
      default: return ::asio::error::no_data;
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Resolve resolve_{&resolve_by_system};
  std::map<std::string, Name> names_{};
  std::deque<std::string> queue_{};
  std::vector<std::thread> threads_{};
  std::size_t idle_ = 0;
  std::uint64_t uses_ = 0;
  bool stopping_ = false;
};

}  // namespace poise::inline v0_1_0::asio::detail
