//! `maxmargin devices`.

use clap::Args;
use maxmargin::gpu::adapters;
use serde_json::json;

use crate::failure::Outcome;
use crate::report::print;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  maxmargin devices\n  maxmargin devices --json")]
pub(crate) struct DevicesArguments {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(arguments: &DevicesArguments) -> Outcome<()> {
    let adapters = adapters();
    if arguments.json {
        let list: Vec<_> = adapters
            .iter()
            .map(|a| {
                json!({
                    "index": a.index,
                    "name": a.name,
                    "backend": a.backend.to_string(),
                    "type": a.kind(),
                    "software": a.is_software(),
                    "driver": a.driver,
                    "limits": {
                        "max_buffer_size": a.limits.max_buffer_size,
                        "max_storage_buffer_binding_size": a.limits.max_storage_buffer_binding_size,
                        "max_compute_workgroups_per_dimension": a.limits.max_compute_workgroups_per_dimension,
                        "max_compute_workgroup_storage_size": a.limits.max_compute_workgroup_storage_size,
                    },
                    "subgroup_sizes": [a.subgroup_sizes.0, a.subgroup_sizes.1],
                    "features": a.features.iter_names().map(|(name, _)| name).collect::<Vec<_>>(),
                })
            })
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        return print(&json!({ "cpu": { "threads": threads }, "adapters": list }).to_string());
    }
    let mut text =
        format!("cpu     native backend, {} threads", std::thread::available_parallelism().map_or(1, usize::from));
    for a in &adapters {
        text += &format!(
            "\ngpu:{:<3} {} ({}, {}{})\n        driver {}\n        binding {} MiB, buffer {} MiB, subgroups {} to {}",
            a.index,
            a.name,
            a.backend,
            a.kind(),
            if a.is_software() { ": only when asked for" } else { "" },
            a.driver,
            a.limits.max_storage_buffer_binding_size >> 20,
            a.limits.max_buffer_size >> 20,
            a.subgroup_sizes.0,
            a.subgroup_sizes.1,
        );
    }
    if adapters.is_empty() {
        text += &format!("\nno GPU was found{}", crate::place::variables());
    }
    print(&text)
}
