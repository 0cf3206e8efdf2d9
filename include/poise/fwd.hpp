// SPDX-License-Identifier: MIT
#pragma once

// Names and default arguments, for headers of yours that only mention poise.

#include <cstddef>

namespace poise::inline v0_1_0 {

struct Endpoint;
struct Request;
struct Outcome;
struct Error;
struct Stats;
class Backend;
class Candidates;
class Context;

struct InFlight;
struct Ewma;
struct PeakEwma;
struct Score;
class CycleClock;
struct SteadyClock;
class VirtualClock;

template <class Clock, class... Observers>
struct Runtime;

template <class L>
struct Weighted;
template <class L>
struct Least;
template <class L>
struct PowerOfTwo;
struct RoundRobin;
struct ExactRoundRobin;
struct SmoothWeighted;
struct Random;
struct WeightedRandom;
template <std::size_t Fresh = 1, std::size_t Slots = 16, std::size_t Repairs = 0>
class BasicAdaptive;

using LeastConnections = Least<Weighted<InFlight>>;
using LeastLatency = Least<Ewma>;
using P2C = PowerOfTwo<Weighted<InFlight>>;
using Adaptive = BasicAdaptive<>;
using WideAdaptive = BasicAdaptive<2, 16, 1>;

// Keyed policies, and the systems whose mappings they can have.
namespace dialect {
struct Native;
struct NativeTable;
struct EnvoyMaglev;
struct EnvoyRing;
struct GrpcRing;
struct Haproxy;
struct HaproxyMap;
struct Libketama;
struct LibmemcachedKetama;
struct LibmemcachedKetamaWeighted;
struct LibmemcachedModula;
struct Nginx;
struct NginxHash;
struct NginxIpHash;
struct Pingora;
struct Twemproxy;
struct TwemproxyModula;
}  // namespace dialect

template <class Dialect>
struct MaglevOf;
template <class Dialect = dialect::Native>
struct HashRing;
template <class Dialect>
struct HashList;
struct Rendezvous;

using Maglev = MaglevOf<dialect::NativeTable>;

// Policies around policies.
class AnyPolicy;
template <class P>
class Bounded;
template <class Primary, class Secondary = void>
class Failover;
struct HasLabel;
struct InTier;
struct InZone;
template <class P, class Keep>
class Filter;
template <class High, class Normal, class Low>
class PriorityRouter;
template <class P>
class RateLimited;
template <class P>
class Retry;
class RetryBudget;
template <class P>
class Subset;
template <class P>
class ZoneAware;
template <class P>
class Shed;
template <class P>
class Wrapper;

template <class P = Adaptive, class Payload = void, class R = Runtime<CycleClock>>
class Balancer;

}  // namespace poise::inline v0_1_0
