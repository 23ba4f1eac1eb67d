//! One shard on its thread.

use std::rc::Rc;
use std::sync::Arc;

use fleetstorm_model::chaos::Timeline;
use fleetstorm_net::aside::{Aside, THREADS_MAX};
use fleetstorm_net::clock::{Alarms, Clock};
use fleetstorm_net::connect::TlsDialler;
use fleetstorm_net::exchange::Carrier;
use fleetstorm_net::governor::{Brake, Governor, Halt};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::Moment;

use super::target::Doors;
use crate::chaos::ShardChaos;
use crate::drive::{Cohort, HubNames, Shard, drive_all};
use crate::plan::{Member, Plan};
use crate::record::Recorder;
use crate::{RunError, audit};

/// What one shard's thread needs.
pub(super) struct ShardWork<'a> {
    pub(super) plan: &'a Plan,
    pub(super) chaos: Option<&'a Arc<Timeline>>,
    pub(super) configs: &'a [Arc<rustls::ClientConfig>],
    pub(super) doors: &'a Doors,
    pub(super) clock: Clock,
    pub(super) governor: Governor,
    pub(super) brake: Brake,
    /// When it ends at the latest.
    pub(super) end: Moment,
}

impl ShardWork<'_> {
    pub(super) fn run(self, members: Vec<Member>, recorder: Recorder) -> Result<Recorder, RunError> {
        let driver = RunError::driver::<std::io::Error>;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(THREADS_MAX)
            .build()
            .map_err(driver)?;
        let aside = Aside::default();
        let local = tokio::task::LocalSet::new();
        let guard = runtime.enter();
        let (alarms, ringer) = Alarms::precise(self.clock).map_err(driver)?;
        drop(guard);
        let host = http::HeaderValue::from_str(&self.doors.https.host_header())
            .map_err(|_| RunError::driver("the host name cannot be a header"))?;
        let cohorts = self
            .plan
            .cohorts
            .iter()
            .zip(&self.plan.scenario.cohorts)
            .zip(self.configs)
            .map(|((planned, cohort), config)| Cohort {
                policy: planned.policy.clone(),
                life: planned.life.clone(),
                retry: planned.retry.clone(),
                connect: TlsDialler::new(
                    Arc::clone(self.doors.of(cohort.transport)),
                    Arc::clone(config),
                    self.clock,
                    planned.certificates,
                )
                .with_hubs(Arc::clone(&self.doors.mqtt))
                .signing_aside(aside.clone())
                .stopping(self.brake.clone()),
                id_scope: Arc::clone(&self.plan.id_scope),
                carrier: Carrier {
                    transport: cohort.transport,
                    api_version: cohort.api_version,
                    host: host.clone(),
                    keep_alive_secs: cohort.keep_alive_secs(),
                    clock: self.clock,
                },
            })
            .collect();
        let shard = Rc::new(Shard {
            clock: self.clock,
            alarms: alarms.clone(),
            seed: Seed(self.plan.scenario.seed),
            cohorts,
            recorder: recorder.into(),
            chaos: self.chaos.map(|timeline| Rc::new(ShardChaos::new(timeline))),
            governor: self.governor,
            hubs: HubNames::default(),
            aside: Some(aside),
        });
        let horizon = self.end;
        let mut arrivals: Vec<Moment> = members.iter().map(|member| member.arrival).collect();
        arrivals.sort_unstable();
        let beats = beats(Rc::clone(&shard));
        let limit = self.plan.scenario.fleet.max_concurrent.map(|limit| limit as usize);
        local.block_on(&runtime, async {
            let ringer = tokio::task::spawn_local(ringer);
            let beats = tokio::task::spawn_local(beats);
            tokio::select! {
                biased;
                () = self.brake.pulled() => {}
                () = alarms.at(horizon) => self.brake.pull(Halt::Horizon),
                () = drive_all(Rc::clone(&shard), members, limit, horizon) => {}
            }
            // Others may still be on their way when this shard's devices have all ended.
            self.brake.pulled().await;
            ringer.abort();
            beats.abort();
        });
        {
            // What the loop was behind when the run ended no beat has told.
            let (now, mut recorder) = (self.clock.now(), shard.recorder.borrow_mut());
            recorder.beat(now, audit::thread_time());
            recorder.ends(&arrivals, now);
        }
        drop(local);
        // Hardware that never answers must not keep the run from ending.
        runtime.shutdown_background();
        Ok(shard.take_recorder())
    }
}

/// Says, for as long as it is polled, when a shard's loop comes round.
async fn beats<C>(shard: Rc<Shard<C>>) {
    loop {
        let next = shard.recorder.borrow_mut().beat(shard.clock.now(), audit::thread_time());
        shard.alarms.at(next).await;
    }
}
