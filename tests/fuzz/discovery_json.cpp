// SPDX-License-Identifier: MIT
// What registries answer: whatever comes, conversations give a list or a reason, and go on.
//
// An input is a letter for the kind, and the answer; each of its lines is one of a watch, too.

#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <poise/discovery/json/consul.hpp>
#include <poise/discovery/json/eds.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/etcd.hpp>
#include <poise/discovery/json/http_list.hpp>
#include <poise/discovery/json/kubernetes.hpp>
#include <poise/discovery/normalize.hpp>

#include "fuzz.hpp"

namespace {

using namespace poise::discovery;
using namespace poise::discovery::json;

std::unique_ptr<Conversation> conversation(char kind) {
  switch (static_cast<unsigned char>(kind) % 5) {
    case 0: return std::make_unique<Consul>("web");
    case 1: return std::make_unique<Etcd>("web/");
    case 2: return std::make_unique<Kubernetes>("n", "web", KubernetesOptions{.zone = "a"});
    case 3: return std::make_unique<Eds>("web", "node");
    default: return std::make_unique<HttpList>("/list");
  }
}

void check(Look const& answer) {
  auto const look =
      std::holds_alternative<Found>(answer) ? normalize(std::get<Found>(answer)) : answer;
  if (auto const* const failed = std::get_if<Failed>(&look))
    tests::require(!failed->why.empty() && failed->why.size() < 2000, "a failure has a reason");
  else
    for (auto const& each : std::get<Found>(look).endpoints)
      tests::require(poise::discovery::detail::address_error(each.address).empty(),
                     "addresses are usable");
}

void check(Conversation const& talk, Step const& step) {
  if (step.look) check(*step.look);
  if (step.changed) check(talk.list());
}

}  // namespace

void tests::fuzz(std::string_view input) {
  if (input.empty()) return;
  auto const talk = conversation(input[0]);
  (void)talk->begin();
  Answer const answer{
      .status = 200, .headers = {{"x-consul-index", "7"}}, .body = std::string{input.substr(1)}};
  check(*talk, talk->on_answer(answer));
  for (auto const& line : split(input.substr(1), '\n')) check(*talk, talk->on_line(line));
  check(*talk, talk->on_answer(answer));
}
