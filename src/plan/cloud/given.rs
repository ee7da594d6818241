//! What the inventory names and skep does not make: found in the cloud by name or ID.

use std::fmt::Display;

use crate::inventory::openstack::Image as WantedImage;
use crate::openstack::Survey;
use crate::openstack::model::{Flavor, Image, ImageStatus, Network, ZoneOf};

/// What cannot be had: why, and what to do.
pub(super) type Nothing = (String, String);

/// The one of `all` that is called `name`, by its ID or its name.
fn one<'a, T>(
    all: &'a [T],
    name: &str,
    what: &str,
    id: impl Fn(&T) -> &str,
    called: impl Fn(&T) -> &str,
) -> Result<&'a T, Nothing> {
    if let Some(found) = all.iter().find(|it| id(it) == name) {
        return Ok(found);
    }
    let found: Vec<&T> = all.iter().filter(|it| called(it) == name).collect();
    match found[..] {
        [one] => Ok(one),
        [] => {
            let known: Vec<&str> = all.iter().map(&called).collect();
            let near = crate::inventory::nearest::nearest(name, known.iter().copied());
            let hint = match near {
                Some(near) => format!("There is `{near}`."),
                None => format!("There is {}.", listed(&known)),
            };
            Err((format!("the cloud has no {what} `{name}`"), hint))
        }
        _ => {
            let ids: Vec<&str> = found.iter().map(|it| id(it)).collect();
            Err((
                format!("the cloud has {} of the {what} `{name}`", found.len()),
                format!("Name one by its ID: {}.", listed(&ids)),
            ))
        }
    }
}

fn listed(words: &[impl Display]) -> String {
    let words: Vec<String> = words
        .iter()
        .take(12)
        .map(|word| format!("`{word}`"))
        .collect();
    if words.is_empty() {
        return "none at all".to_owned();
    }
    words.join(", ")
}

pub(super) fn flavor<'a>(survey: &'a Survey, name: &str) -> Result<&'a Flavor, Nothing> {
    one(&survey.flavors, name, "flavor", |it| &it.id, |it| &it.name)
}

pub(super) fn network<'a>(survey: &'a Survey, name: &str) -> Result<&'a Network, Nothing> {
    one(
        &survey.networks,
        name,
        "network",
        |it| &it.id,
        |it| &it.name,
    )
}

/// The ID of a security group that is not the cluster's.
pub(super) fn security_group(survey: &Survey, name: &str) -> Result<String, Nothing> {
    let all = &survey.given.security_groups;
    one(all, name, "security group", |it| &it.0, |it| &it.1).map(|it| it.0.clone())
}

/// A zone for servers, where the inventory names one.
pub(super) fn zone(survey: &Survey, name: &str) -> Result<(), Nothing> {
    let servers = survey.zones.iter().filter(|it| it.of == ZoneOf::Servers);
    let known: Vec<&str> = servers.clone().map(|it| it.name.as_str()).collect();
    match servers.into_iter().find(|it| it.name == name) {
        Some(zone) if zone.available => Ok(()),
        Some(_) => Err((
            format!("the availability zone `{name}` takes nothing new at the moment"),
            "Leave it out of `availability-zones`, or wait.".to_owned(),
        )),
        None => Err((
            format!("the cloud has no availability zone `{name}`"),
            format!("There is {}.", listed(&known)),
        )),
    }
}

pub(super) fn image<'a>(survey: &'a Survey, wanted: &WantedImage) -> Result<&'a Image, Nothing> {
    match wanted {
        WantedImage::Named(name) => {
            let image = one(&survey.images, name, "image", |it| &it.id, |it| &it.name)?;
            if image.status == ImageStatus::Active {
                return Ok(image);
            }
            Err((
                format!("the image `{name}` cannot be used yet"),
                "Wait until it is active, or take another.".to_owned(),
            ))
        }
        WantedImage::With(properties) => {
            let has = |image: &&Image| {
                let mut pairs = properties.iter();
                image.status == ImageStatus::Active
                    && pairs.all(|(key, value)| image.properties.get(key) == Some(value))
            };
            let newest = survey.images.iter().filter(has).max_by_key(|it| it.created);
            newest.ok_or_else(|| {
                let pairs = properties
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"));
                (
                    format!(
                        "no image has the properties {}",
                        pairs.collect::<Vec<_>>().join(", ")
                    ),
                    "`openstack image show IMAGE` shows what an image has.".to_owned(),
                )
            })
        }
    }
}
