// compiles
#include <poise/fwd.hpp>

// A header that only mentions poise: declarations, no definition.
using Default = poise::Balancer<>;
using Own = poise::Balancer<poise::AnyPolicy, Default, poise::Runtime<poise::VirtualClock>>;

template <class...>
struct Names;
using Loads = Names<poise::Weighted<poise::InFlight>, poise::Ewma, poise::PeakEwma, poise::Score>;
using Policies = Names<poise::RoundRobin, poise::ExactRoundRobin, poise::SmoothWeighted,
                       poise::Random, poise::WeightedRandom, poise::P2C, poise::LeastConnections,
                       poise::LeastLatency, poise::Adaptive, poise::WideAdaptive>;
namespace dialect = poise::dialect;
using Keyed =
    Names<poise::Maglev, poise::MaglevOf<dialect::EnvoyMaglev>, poise::HashRing<>,
          poise::HashRing<dialect::Nginx>, poise::HashRing<dialect::Haproxy>,
          poise::HashRing<dialect::EnvoyRing>, poise::HashRing<dialect::GrpcRing>,
          poise::HashRing<dialect::Pingora>, poise::HashRing<dialect::Libketama>,
          poise::HashRing<dialect::LibmemcachedKetama>,
          poise::HashRing<dialect::LibmemcachedKetamaWeighted>, poise::HashRing<dialect::Twemproxy>,
          poise::HashList<dialect::NginxHash>, poise::HashList<dialect::NginxIpHash>,
          poise::HashList<dialect::HaproxyMap>, poise::HashList<dialect::LibmemcachedModula>,
          poise::HashList<dialect::TwemproxyModula>, poise::Rendezvous>;
using Wrappers =
    Names<poise::Bounded<poise::Maglev>, poise::Failover<poise::P2C>,
          poise::Failover<poise::P2C, poise::RoundRobin>, poise::Filter<poise::P2C, poise::InZone>,
          poise::Filter<poise::P2C, poise::InTier>, poise::Filter<poise::P2C, poise::HasLabel>,
          poise::PriorityRouter<poise::P2C, poise::P2C, poise::Random>, poise::Retry<poise::P2C>,
          poise::RateLimited<poise::P2C>, poise::Shed<poise::P2C>, poise::Subset<poise::P2C>,
          poise::ZoneAware<poise::P2C>>;

void take(Own const& balancer, poise::Endpoint const& endpoint, poise::Request const& request,
          poise::Outcome const& outcome, poise::RetryBudget const& budget,
          poise::Error const& error, poise::Stats const& stats, poise::Backend const& backend,
          poise::Candidates const& candidates, poise::Context const& context);

int main() {}
