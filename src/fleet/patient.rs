//! What of a configuration can be examined where no bridge runs: each device, or each connector with its first one.

use std::sync::Arc;

use super::draft::first_plan;
use super::error::PlanError;
use super::plan::{Plan, Tools};
use super::reach::Reach;
use super::setup::Setup;
use crate::config::{Config, Connector, Device};
use crate::device::DeviceId;
use crate::doctor::{Fault, Outlet, Patient, StepName};
use crate::mqtt::transport::Endpoint;
use crate::tally::Tally;

/// A device as it would be with this configuration; `None` where the configuration has no such device.
pub fn patient(config: &Config, device: &DeviceId) -> Option<Patient> {
    let device = config.devices.get(device)?;
    let connector = config.connectors.get(&device.connector)?;
    Some(examine(config, connector, Some(device)))
}

/// Every connector, with its first device that has a connection of its own or shares the connector's.
pub fn patients(config: &Config) -> Vec<Patient> {
    let all = config.connectors.values().map(|connector| {
        let mut devices = config.devices.values();
        let first =
            devices.find(|device| device.connector == connector.name && device.via.is_none());
        examine(config, connector, first.map(Arc::as_ref))
    });
    all.collect()
}

fn examine(config: &Config, connector: &Connector, device: Option<&Device>) -> Patient {
    let mut patient = Patient {
        device: device.map(|device| device.id.clone()),
        connector: connector.name.clone(),
        profile: connector.profile_name.clone(),
        broker: connector.url.to_string(),
        warnings: warnings(config, connector, device),
        faults: Vec::new(),
        endpoint: None,
        connect: None,
        filters: Vec::new(),
        outlet: None,
    };
    let tally = Tally::default();
    let tools = Tools::to_examine(&tally, config.limits.queued_uplinks);
    let setup = Setup::of(&part(config, connector, device), &Setup::default());
    match first_plan(&tools, &setup) {
        Ok(plan) => {
            // What is about a certificate's time is found by the step certificate, with the examination's clock.
            let warnings = plan.warnings.iter();
            let named = warnings.filter(|warning| !warning.is_about_time());
            patient.warnings.extend(named.map(ToString::to_string));
            if let Some(device) = device {
                complete(&mut patient, &plan, &setup, device);
            }
        }
        Err(errors) => patient.faults = errors.iter().map(fault).collect(),
    }
    patient.endpoint = match &patient.connect {
        Some(connect) => Some(connect.endpoint.clone()),
        None => way(connector),
    };
    patient
}

fn complete(patient: &mut Patient, plan: &Plan, setup: &Setup, device: &Device) {
    let key = setup.session_of(device);
    let spec = key.and_then(|key| plan.specs.get(&key));
    patient.connect = spec.map(|spec| Arc::clone(&spec.connect));
    let workshop = plan.workshops.get(&device.connector);
    if let (Some(topics), Some(workshop)) = (plan.topics.get(&device.id), workshop) {
        patient.filters = topics.routes.filters().cloned().collect();
        patient.outlet = Some(Outlet {
            connector: Arc::clone(&workshop.registered),
            topic: topics.uplink.clone(),
        });
    }
}

/// The way to the broker of a connector that has no device, or whose device cannot connect. It can be gone without a
/// client certificate.
fn way(connector: &Connector) -> Option<Endpoint> {
    let reach = |connector: Connector| Reach::new(&Arc::new(connector), &mut Vec::new());
    let reached = match reach(connector.clone()) {
        Err(PlanError::Identity { .. }) => reach(Connector {
            identity: None,
            ..connector.clone()
        }),
        reached => reached,
    };
    Some(reached.ok()?.shared())
}

/// The configuration of one device alone, with the router that it is behind.
fn part(config: &Config, connector: &Connector, device: Option<&Device>) -> Config {
    let mut part = config.clone();
    part.connectors.retain(|name, _| *name == connector.name);
    part.devices.retain(|id, _| {
        device.is_some_and(|device| *id == device.id || device.via.as_ref() == Some(id))
    });
    part
}

/// What the configuration warns of, without what is about others.
fn warnings(config: &Config, connector: &Connector, device: Option<&Device>) -> Vec<String> {
    let about_another = |key: &str| {
        let mut parts = key.splitn(3, '.');
        match (parts.next(), parts.next()) {
            (Some("connectors"), Some(name)) => name != connector.name.as_str(),
            (Some("devices"), Some(id)) => {
                device.is_none_or(|device| id.trim_matches('"') != device.id.as_str())
            }
            _ => false,
        }
    };
    let warnings = config.warnings.iter();
    let warnings = warnings.filter(|warning| !about_another(warning.problem().key()));
    warnings.map(ToString::to_string).collect()
}

fn fault(error: &PlanError) -> Fault {
    let (step, problem) = match error {
        PlanError::Key { .. } | PlanError::Kid { .. } | PlanError::Token { .. } => {
            (StepName::Token, error.to_string())
        }
        PlanError::Tls { .. } => (StepName::Tls, error.to_string()),
        PlanError::Identity { .. } => (StepName::Certificate, error.to_string()),
        _ => (StepName::Configuration, error.to_string()),
    };
    Fault { step, problem }
}
