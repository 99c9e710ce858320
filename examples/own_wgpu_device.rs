//! A caller's own wgpu device, queue and buffers: the caller's kernel writes the scores, evaluated in place.
//!
//! `cargo run --release --example own_wgpu_device`; needs a GPU, or a software adapter such as Mesa's llvmpipe.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use maxmargin::gpu::{ElementType, Gpu, GpuOptions};
use maxmargin::{Batch, BinaryHinge, Device, Request};

/// Scores that rise from -2 to 2.
const KERNEL: &str = "
@group(0) @binding(0) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let count = arrayLength(&scores);
    if id.x < count { scores[id.x] = -2.0 + 4.0 * f32(id.x) / f32(count); }
}
";

const SAMPLES: u32 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    // The caller creates instance, adapter, device, queue, buffer and kernel.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("scores"),
        size: u64::from(SAMPLES) * 4,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("model"),
        source: wgpu::ShaderSource::Wgsl(KERNEL.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("model"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("model"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(SAMPLES.div_ceil(64), 1, 1);
    }
    queue.submit([encoder.finish()]);

    // maxmargin works on the same device and reads the same buffer.
    let gpu = Gpu::from_wgpu(device, queue, GpuOptions::default())?;
    println!("on {}", gpu.name());
    let scores = gpu.wrap_buffer(&buffer, 0, SAMPLES as usize, ElementType::F32)?;
    let labels = vec![1i32; SAMPLES as usize];
    let evaluation = Device::from(gpu).evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels), &Request::new())?;

    // The mean of max(0, 1 - s) for s from -2 to 2 is 9/8, apart from the steps between the scores.
    println!("hinge {:.4}", evaluation.value.unwrap_or(f64::NAN));
    println!("active {} of {}", evaluation.active, evaluation.count);
    Ok(())
}
