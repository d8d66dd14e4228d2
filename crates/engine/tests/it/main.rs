//! The engine against a model of a cluster: scenarios, defects that must not come back, interruptions, properties.
//!
//! [`world`] holds the cluster and runs it; [`store`] is the part that an API server does, [`mco`] the part that the
//! Machine Config Operator does, [`agents`] the part of the node agents.

#[cfg(test)]
mod agents;
#[cfg(test)]
mod classes;
#[cfg(test)]
mod cloud;
#[cfg(test)]
mod compact;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod interruptions;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod mco;
#[cfg(test)]
mod peer_pods;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod selection;
#[cfg(test)]
mod store;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod world;
