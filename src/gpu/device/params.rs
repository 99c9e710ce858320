//! The kernels' parameters on the device, cached: a call with the same parameters reuses their buffer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::context::Gpu;
use crate::error::Result;

/// Most buffers in the cache; beyond that all are dropped.
const MOST_BUFFERS: usize = 256;

/// Larger parameters, those of batches with many dispatches, are not cached.
const MOST_BYTES: usize = 4096;

const OPERATION: &str = "uploading parameters";

/// Buffers by their content. None is ever written again, so any number of calls may read one.
#[derive(Debug, Default)]
pub(in crate::gpu) struct ParamsCache {
    buffers: Mutex<HashMap<Vec<u8>, wgpu::Buffer>>,
}

impl Gpu {
    /// A uniform buffer that holds these bytes: a multiple of 4, and not 0.
    pub(in crate::gpu) async fn params(&self, bytes: Vec<u8>) -> Result<wgpu::Buffer> {
        let buffers = || self.params_cache().buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = buffers().get(&bytes) {
            return Ok(found.clone());
        }
        let create = || {
            let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("parameters"),
                size: bytes.len() as u64,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            buffer.get_mapped_range_mut(..)?.copy_from_slice(&bytes);
            buffer.unmap();
            Ok(buffer)
        };
        let created: std::result::Result<_, wgpu::MapRangeError> = self.attempt(OPERATION, create).await?;
        let buffer = created.map_err(|error| self.refused(OPERATION, &error.to_string()))?;
        if bytes.len() <= MOST_BYTES {
            let mut buffers = buffers();
            if buffers.len() >= MOST_BUFFERS {
                buffers.clear();
            }
            buffers.insert(bytes, buffer.clone());
        }
        Ok(buffer)
    }
}
