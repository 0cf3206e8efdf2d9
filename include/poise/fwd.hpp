// SPDX-License-Identifier: MIT
#pragma once

// Names and default arguments, for headers of yours that only mention poise.

namespace poise {

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

using LeastConnections = Least<Weighted<InFlight>>;
using LeastLatency = Least<Ewma>;
using P2C = PowerOfTwo<Weighted<InFlight>>;

template <class P = P2C, class Payload = void, class R = Runtime<SteadyClock>>
class Balancer;

}  // namespace poise
