//! `verify images`, and which images a restore needs.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::logic::{PartitionIndex, Step};
use crate::steps::progress::Progress;
use crate::steps::{Context, Outcome};
use crate::table::Table;

/// An image on the CD and the partitions that get it.
pub(crate) struct Image {
    pub table: Table,
    pub partitions: Vec<PartitionIndex>,
}

impl Context<'_> {
    /// A partition's image on the CD.
    ///
    /// # Errors
    /// That it has none, or what is wrong with it.
    pub(crate) fn image_of(&mut self, partition: PartitionIndex) -> Result<Table, String> {
        let declared = self.program.partition(partition);
        let path = self.program.image_path(partition);
        let path = path.ok_or_else(|| format!("{} has no image", declared.name))?;
        self.buffers.forget();
        let table = Table::on_cd(self.machine, &self.cd, &path)?;
        if table.header.sectors > declared.sectors {
            return Err(format!("{path} does not fit {}", declared.name));
        }
        Ok(table)
    }

    /// The images of `partitions`, each once.
    ///
    /// # Errors
    /// Which one is missing, damaged, or does not fit.
    pub(crate) fn images(&mut self, partitions: &[PartitionIndex]) -> Result<Vec<Image>, String> {
        let mut images: Vec<Image> = Vec::new();
        for &partition in partitions {
            let Some(path) = self.program.image_path(partition) else { continue };
            let table = self.image_of(partition)?;
            match images.iter_mut().find(|i| i.table.name() == path) {
                Some(image) => image.partitions.push(partition),
                None => images.push(Image { table, partitions: vec![partition] }),
            }
        }
        Ok(images)
    }

    /// `verify images`: every image that a restore would use, read whole.
    ///
    /// # Errors
    /// The first that is missing, unreadable, or not what its hashes say.
    pub fn verify_images(&mut self, step: &Step) -> Outcome {
        let all: Vec<PartitionIndex> = self.program.partition_indexes().collect();
        let images = self.images(&all)?;
        let total = images.iter().map(|i| i.table.header.file_bytes).sum();
        let mut progress = Progress::begin(self.machine, step, "CD", total);
        for image in &images {
            self.verify_image(&image.table, &mut progress)?;
        }
        Ok(String::new())
    }

    /// Packs are hashed as they stand on the CD: what can be unpacked from the right bytes is right.
    #[inline(never)]
    fn verify_image(&mut self, image: &Table, progress: &mut Progress<'_>) -> Result<(), String> {
        image.check_names(self.machine)?;
        let mut entries = image.entries();
        // Chunks that share a pack stand together, or repeat an earlier one: each is read once.
        let mut next = 0;
        while let Some(entry) = entries.next(self.machine)? {
            let place = entry.place.ok_or_else(|| format!("{} is no image", image.name()))?;
            if place.at >= next {
                self.buffers.check(self.machine, image, place)?;
                next = place.at.saturating_add(1);
                progress.advance(self.machine, u64::from(place.bytes));
            }
        }
        Ok(())
    }
}

/// Names of partitions as a line shows them.
pub(crate) fn names(context: &Context<'_>, images: &[Image]) -> String {
    let names: Vec<&str> =
        images.iter().flat_map(|i| &i.partitions).map(|&p| context.program.partition(p).name.as_str()).collect();
    names.join(" ")
}
