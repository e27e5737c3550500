//! Houses with the people, records and policies that the certification and the interop data want.

use serde_json::{Value, json};

use crate::api::house::House;

pub(super) fn user(id: &str) -> Value {
    json!({"type": "user", "id": id})
}

pub(super) fn action(name: &str) -> Value {
    json!({"name": name})
}

pub(super) fn record(id: &str) -> Value {
    json!({"type": "record", "id": id})
}

impl House {
    async fn owner(&self, id: &str, properties: Value) {
        self.post("/v1/owners", json!({"owner": id})).await.done();
        if properties != json!({}) {
            let path = format!("/v1/entities/owner/{id}");
            self.put(&path, json!({"properties": properties})).await.done();
        }
    }

    async fn known(&self, kind: &str, id: &str, properties: Value) {
        let path = format!("/v1/entities/resource/{kind}%3A%2F%2F{id}");
        self.put(&path, json!({"properties": properties})).await.done();
    }

    async fn policies(&self, texts: &[&str]) {
        for (number, text) in texts.iter().enumerate() {
            let text = format!("@jit(\"true\") {text}");
            self.put(&format!("/v1/policies/p{number}"), json!({"text": text})).await.done();
        }
        self.post("/v1/policies/activate", json!({})).await.done();
    }
}

/// The certification's own fixture.
pub(super) async fn certified() -> House {
    let house = House::open();
    house.owner("alice", json!({})).await;
    house.owner("bob", json!({"role": "admin"})).await;
    house.known("record", "record-1", json!({"status": "active"})).await;
    house.known("record", "record-2", json!({"status": "archived"})).await;
    house
        .policies(&[
            r#"permit (principal is Owner, action == Action::"read",
                resource in Resource::"record://");"#,
            r#"permit (principal == Owner::"alice", action == Action::"write", resource)
                unless { resource.hasTag("status") && resource.getTag("status").contains("archived") };"#,
            r#"permit (principal is Owner, action == Action::"write", resource) when {
                principal.hasTag("role") && principal.getTag("role").contains("admin") &&
                resource.hasTag("status") && resource.getTag("status").contains("archived") };"#,
            r#"permit (principal == Owner::"alice", action == Action::"delete", resource) when {
                context.action.hasTag("soft") && context.action.getTag("soft").contains("true") };"#,
        ])
        .await;
    house
}

/// Five people with roles, as the todo and gateway data have them; their ids are given.
pub(super) async fn citizens(people: &[(String, &str, &[&str])]) -> House {
    let house = House::open();
    for (id, email, roles) in people {
        house.owner(id, json!({"email": email, "roles": roles})).await;
    }
    let has = |roles: &str| {
        format!(r#"principal.hasTag("roles") && principal.getTag("roles").containsAny([{roles}])"#)
    };
    let own = r#"resource.hasTag("ownerID") && principal.hasTag("email") &&
        resource.getTag("ownerID") == principal.getTag("email")"#;
    let on = |action: &str, when: String| {
        format!(
            "permit (principal is Owner, action == Action::\"{action}\", resource) when {{ {when} }};"
        )
    };
    let routes = |actions: &str, when: String| {
        format!(
            "permit (principal is Owner, action in [{actions}], resource in Resource::\"route://\") \
             when {{ {when} }};"
        )
    };
    let texts = [
        r#"permit (principal is Owner,
            action in [Action::"can_read_user", Action::"can_read_todos"], resource);"#
            .to_owned(),
        on("can_create_todo", has(r#""admin", "editor", "evil_genius""#)),
        on("can_update_todo", has(r#""evil_genius""#)),
        on("can_update_todo", format!("{} && {own}", has(r#""admin", "editor""#))),
        on("can_delete_todo", has(r#""admin""#)),
        on("can_delete_todo", format!("{} && {own}", has(r#""editor""#))),
        routes(r#"Action::"GET""#, "true".to_owned()),
        routes(
            r#"Action::"POST", Action::"PUT", Action::"DELETE""#,
            has(r#""admin", "editor", "evil_genius""#),
        ),
    ];
    house.policies(&texts.each_ref().map(String::as_str)).await;
    house
}

/// People and records with departments.
pub(super) async fn archive(users: &[Value], records: &[Value]) -> House {
    let house = House::open();
    for user in users {
        let known = json!({"role": user["role"], "department": user["department"]});
        house.owner(user["id"].as_str().unwrap(), known).await;
    }
    for record in records {
        let known = json!({"department": record["department"], "owner": record["owner"]});
        house.known("record", &record["id"].to_string(), known).await;
    }
    let is_owner = r#"resource.hasTag("owner") && resource.getTag("owner").contains(principal.id)"#;
    let is_manager = r#"principal.hasTag("role") && principal.getTag("role").contains("manager")"#;
    let same = r#"principal.hasTag("department") && resource.hasTag("department") &&
        principal.getTag("department") == resource.getTag("department")"#;
    let on = |action: &str, when: &str| {
        format!(
            "permit (principal is Owner, action == Action::\"{action}\", resource) when {{ {when} }};"
        )
    };
    let texts = [
        on("view", is_owner),
        on("view", is_manager),
        on("view", same),
        on("edit", is_owner),
        on("edit", &format!("{is_manager} && {same}")),
        on("delete", is_owner),
    ];
    house.policies(&texts.each_ref().map(String::as_str)).await;
    house
}
