//! What `terraform show -json` prints of a state or a plan.

use fleetstorm_scenario::PermissionFile;
use serde_json::Value;

use crate::error::{ImportError, Place};
use crate::found::{Found, Service};
use crate::member::Object;

/// Reads a state or a plan.
pub(crate) fn read(document: &Value, place: &Place, found: &mut Found) -> Result<(), ImportError> {
    let part = ["values", "planned_values"].into_iter().find(|part| document.get(part).is_some());
    let Some(part) = part else {
        return Err(place
            .refuse("this state is empty", "run `terraform show -json` where the resources were applied"));
    };
    let place = place.member(part).member("root_module");
    module(document[part].get("root_module").unwrap_or(&Value::Null), &place, found)
}

fn module(module: &Value, place: &Place, found: &mut Found) -> Result<(), ImportError> {
    let module = Object::new(module, place);
    for (place, resource) in module.items("resources")? {
        let resource = Object::new(resource, &place);
        let at = place.member("values");
        let none = Value::Null;
        let values = Object::new(resource.value.get("values").unwrap_or(&none), &at);
        self::resource(resource.needed("type")?, &values, found)?;
    }
    for (place, child) in module.items("child_modules")? {
        self::module(child, &place, found)?;
    }
    Ok(())
}

fn resource(kind: &str, values: &Object<'_>, found: &mut Found) -> Result<(), ImportError> {
    let place = values.place;
    match kind {
        "azurerm_iothub_dps" => {
            let name = values.needed("name")?;
            let allocation = found.allocation(values, "allocation_policy")?;
            let id_scope = values.text("id_scope")?.map(str::to_owned);
            for (place, link) in values.items("linked_hub")? {
                let link = Object::new(link, &place);
                let as_in_azure = serde_json::json!({
                    "hostName": link.get("hostname"),
                    "connectionString": link.get("connection_string"),
                    // The provider writes 0 where none was given.
                    "allocationWeight": link.get("allocation_weight").filter(|weight| **weight != 0),
                    "applyAllocationPolicy": link.get("apply_allocation_policy"),
                });
                found.link(&place, &as_in_azure, Some(name))?;
            }
            if !values.items("ip_filter_rule")?.is_empty() {
                found.lost.push(format!("{place}: the mock has no IP filter; `ip_filter_rule` is left out"));
            }
            if values.flag("public_network_access_enabled")? == Some(false) {
                found.lost.push(format!(
                    "{place}: the mock has no private network; `public_network_access_enabled` is left out"
                ));
            }
            found.service(place, Service { name: name.to_owned(), id_scope, allocation });
        }
        "azurerm_iothub" => {
            let name = values.needed("name")?;
            let host = Found::host(values.text("hostname")?.unwrap_or(name), place)?;
            let at = place.member("sku");
            let none = Value::Null;
            let sku = values.items("sku")?;
            let sku = Object::new(sku.first().map_or(&none, |(_, sku)| sku), &at);
            found.hub(place, host, &sku, ("name", "capacity"))?;
        }
        "azurerm_iothub_dps_shared_access_policy" => {
            let mut permissions = Vec::new();
            for (member, permission) in [
                ("service_config", PermissionFile::ServiceConfig),
                ("enrollment_read", PermissionFile::EnrollmentRead),
                ("enrollment_write", PermissionFile::EnrollmentWrite),
                ("registration_read", PermissionFile::RegistrationStatusRead),
                ("registration_write", PermissionFile::RegistrationStatusWrite),
            ] {
                if values.flag(member)? == Some(true) {
                    permissions.push(permission);
                }
            }
            found.permit(place, values.needed("name")?, permissions, values.text("iothub_dps_name")?)?;
        }
        "azurerm_iothub_dps_certificate" => {
            // The provider has had two names for the service's.
            let service = match values.text("iot_dps_name")? {
                None => values.text("iothub_dps_name")?,
                name => name,
            };
            let verified = values.flag("is_verified")?.unwrap_or(false);
            found.certificate(place, values.needed("name")?, verified, service)?;
        }
        other => *found.others.entry(other.to_owned()).or_default() += 1,
    }
    Ok(())
}
