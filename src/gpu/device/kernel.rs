//! What every kernel is to the device: a text, its bindings and constants, compiled on first use.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::context::Gpu;
use crate::error::Result;

/// A parameter struct of a WGSL template: `MEMBERS` is (name, byte offset) of each, to be held against the WGSL struct's.
/// Uniform buffers come in units of 16 bytes, so there may be padding at the end.
macro_rules! params {
    ($(#[$doc:meta])* pub struct $name:ident { $($member:ident: $type:ty,)+ } $(padding: $padding:ty)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct $name {
            $(pub(in crate::gpu) $member: $type,)+
            $(pub(in crate::gpu) padding: $padding,)?
        }

        impl Default for $name {
            fn default() -> Self {
                bytemuck::Zeroable::zeroed()
            }
        }

        impl $name {
            /// (name, byte offset) of each member, to be held against the WGSL struct.
            pub const MEMBERS: &'static [(&'static str, usize)] =
                &[$((stringify!($member), std::mem::offset_of!($name, $member))),+];
        }
    };
}
pub(in crate::gpu) use params;

/// Whether a binding is the parameters, read, or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) enum Binding {
    Params,
    Read,
    Write,
}

/// Compiles a kernel of this crate.
pub(in crate::gpu) fn create_pipeline(
    device: &wgpu::Device,
    name: &str,
    source: String,
    bindings: &[Binding],
    constants: &[(&str, f64)],
) -> wgpu::ComputePipeline {
    let label = Some(name);
    let descriptor = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = if cfg!(debug_assertions) {
        device.create_shader_module(descriptor)
    } else {
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..Default::default() };
        // SAFETY: the text is this crate's own, every loop in it counts up to a bound that is fixed before the
        // loop or divides a stride down to its end, so none is infinite; all other run-time checks stay on.
        unsafe { device.create_shader_module_trusted(descriptor, checks) }
    };
    let entries: Vec<_> = (0..)
        .zip(bindings)
        .map(|(binding, kind)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match kind {
                    Binding::Params => wgpu::BufferBindingType::Uniform,
                    Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Binding::Write => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            // The templates write workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}

/// A kernel that a device compiles once.
pub(in crate::gpu) trait Kernel: Clone + Eq + Hash + Send + 'static {
    /// Refuses a device whose limits are too low.
    fn check(&self, limits: &wgpu::Limits) -> Result<()>;
    /// Compiles it.
    fn create_pipeline(&self, device: &wgpu::Device) -> wgpu::ComputePipeline;
}

/// The kernels of a device that were compiled, a table for each type of them.
#[derive(Debug, Default)]
pub(in crate::gpu) struct PipelineCache {
    tables: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
}

type Table<K> = HashMap<K, wgpu::ComputePipeline>;

impl PipelineCache {
    /// Runs `work` with the table of a type of kernels.
    fn with<K: Kernel, R>(&self, work: impl FnOnce(&mut Table<K>) -> R) -> R {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let table = tables.entry(TypeId::of::<K>()).or_insert_with(|| Box::new(Table::<K>::new()));
        match table.downcast_mut() {
            Some(table) => work(table),
            // No other type has this id.
            None => work(&mut Table::new()),
        }
    }
}

impl Gpu {
    /// The pipeline of a kernel, compiled on first use.
    pub(in crate::gpu) async fn pipeline<K: Kernel>(&self, kernel: &K) -> Result<wgpu::ComputePipeline> {
        if let Some(pipeline) = self.pipelines().with(|table: &mut Table<K>| table.get(kernel).cloned()) {
            return Ok(pipeline);
        }
        kernel.check(&self.description().limits)?;
        let pipeline = self.attempt("compiling a kernel", || kernel.create_pipeline(self.device())).await?;
        Ok(self.pipelines().with(|table: &mut Table<K>| table.entry(kernel.clone()).or_insert(pipeline).clone()))
    }
}
