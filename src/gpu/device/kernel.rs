//! The common part of all kernels: a text, bindings and constants, compiled on first use.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::context::Gpu;
use crate::error::Result;

/// A Rust type allowed in a parameter struct, with its WGSL name.
pub(in crate::gpu) trait InWgsl {
    const NAME: &str;
}

macro_rules! in_wgsl {
    ($($type:ty: $name:literal),+) => {$(
        impl InWgsl for $type {
            const NAME: &str = $name;
        }
    )+};
}
in_wgsl!(u32: "u32", i32: "i32", f32: "f32", [[u32; 4]; 16]: "array<vec4<u32>, 16>", [[f32; 4]; 256]: "array<vec4<f32>, 256>");

/// A member of a parameter struct.
#[derive(Clone, Copy, Debug)]
pub struct ParamsMember {
    /// Its name.
    pub name: &'static str,
    /// Its type in WGSL.
    pub wgsl: &'static str,
    /// Its offset in bytes.
    pub offset: usize,
}

/// How a parameter struct lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct ParamsLayout {
    /// Its members, without the padding at the end.
    pub members: &'static [ParamsMember],
    /// Size of the struct in bytes.
    pub size: usize,
}

/// Defines a kernel's parameters: the host's struct, from which [`header`] makes the WGSL one. Uniform buffers have a
/// multiple of 16 bytes, so there may be padding at the end.
macro_rules! params {
    (
        $(#[$doc:meta])* pub(in crate::gpu) struct $name:ident {
            $($(#[$member_doc:meta])* $member:ident: $type:ty,)+
        }
        $(padding: $padding:ty)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub(in crate::gpu) struct $name {
            $($(#[$member_doc])* pub(in crate::gpu) $member: $type,)+
            $(pub(in crate::gpu) padding: $padding,)?
        }

        impl Default for $name {
            fn default() -> Self {
                bytemuck::Zeroable::zeroed()
            }
        }

        impl $name {
            /// How it lies in memory.
            pub(in crate::gpu) const LAYOUT: $crate::gpu::device::kernel::ParamsLayout =
                $crate::gpu::device::kernel::ParamsLayout {
                    members: &[$($crate::gpu::device::kernel::ParamsMember {
                        name: stringify!($member),
                        wgsl: <$type as $crate::gpu::device::kernel::InWgsl>::NAME,
                        offset: std::mem::offset_of!($name, $member),
                    }),+],
                    size: size_of::<$name>(),
                };
        }
    };
}
pub(in crate::gpu) use params;

/// A buffer that a kernel reads or writes: `array<element>` in WGSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) struct Binding {
    pub(in crate::gpu) name: &'static str,
    pub(in crate::gpu) element: &'static str,
    pub(in crate::gpu) is_written: bool,
}

impl Binding {
    pub(in crate::gpu) const fn read(name: &'static str, element: &'static str) -> Self {
        Self { name, element, is_written: false }
    }

    pub(in crate::gpu) const fn written(name: &'static str, element: &'static str) -> Self {
        Self { name, element, is_written: true }
    }
}

/// The WGSL text of a kernel's parameters (binding 0) and of its buffers (the bindings after it).
pub(in crate::gpu) fn header(params: &ParamsLayout, bindings: &[Binding]) -> String {
    let members = params.members.iter().map(|member| format!("    {}: {},\n", member.name, member.wgsl));
    let params = "@group(0) @binding(0) var<uniform> params: Params;\n".to_owned();
    let buffers = (1..).zip(bindings).map(|(number, binding)| {
        let access = if binding.is_written { "read_write" } else { "read" };
        format!("@group(0) @binding({number}) var<storage, {access}> {}: array<{}>;\n", binding.name, binding.element)
    });
    let lines = ["struct Params {\n".to_owned()].into_iter().chain(members).chain(["}\n".to_owned(), params]);
    lines.chain(buffers).collect()
}

/// Compiles a kernel of this crate. Its text begins with the [`header`] of its parameters and these bindings.
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
    let uniform = wgpu::BufferBindingType::Uniform;
    let storage = |binding: &Binding| wgpu::BufferBindingType::Storage { read_only: !binding.is_written };
    let entries: Vec<_> = (0..)
        .zip([uniform].into_iter().chain(bindings.iter().map(storage)))
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
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
    /// Refuses a device with too low limits.
    fn check(&self, limits: &wgpu::Limits) -> Result<()>;
    fn create_pipeline(&self, device: &wgpu::Device) -> wgpu::ComputePipeline;
}

/// A device's compiled kernels: one table per type of kernel.
#[derive(Debug, Default)]
pub(in crate::gpu) struct PipelineCache {
    tables: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
}

type Table<K> = HashMap<K, wgpu::ComputePipeline>;

impl PipelineCache {
    /// Runs `work` with the table of one type of kernel.
    fn with<K: Kernel, R>(&self, work: impl FnOnce(&mut Table<K>) -> R) -> R {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let table = tables.entry(TypeId::of::<K>()).or_insert_with(|| Box::new(Table::<K>::new()));
        match table.downcast_mut() {
            Some(table) => work(table),
            // Unreachable: no other type has this id.
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
