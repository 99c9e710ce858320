//! A loss chosen at run time, as a value that can be saved: its name and its options.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value::Loss;
use super::{
    BinaryHinge, CategoricalHinge, CosineEmbedding, CrammerSinger, EmbeddingHinge, LeeLinWahba, ListwiseHinge,
    LovaszHinge, MarginRanking, MulticlassHinge, MultilabelMargin, OneVsAll, TopK, TripletMargin, WestonWatkins,
};

/// Every loss by the name that [`Loss::name`] gives it.
macro_rules! losses {
    ($($variant:ident($name:literal): $loss:ty),+ $(,)?) => {
        #[derive(Serialize, Deserialize)]
        enum SavedLoss {
            $(#[serde(rename = $name)] $variant($loss)),+
        }

        impl SavedLoss {
            fn of(loss: &dyn Loss) -> Option<Self> {
                let loss = loss.as_any();
                $(if let Some(loss) = loss.downcast_ref::<$loss>() { return Some(Self::$variant(loss.clone())); })+
                None
            }

            fn boxed(self) -> Box<dyn Loss> {
                match self {
                    $(Self::$variant(loss) => Box::new(loss)),+
                }
            }
        }
    };
}
losses! {
    Binary("binary"): BinaryHinge,
    Embedding("embedding"): EmbeddingHinge,
    Ranking("ranking"): MarginRanking,
    CrammerSinger("crammer_singer"): MulticlassHinge<CrammerSinger>,
    WestonWatkins("weston_watkins"): MulticlassHinge<WestonWatkins>,
    LeeLinWahba("lee_lin_wahba"): MulticlassHinge<LeeLinWahba>,
    TopK("top_k"): MulticlassHinge<TopK>,
    OneVsAll("one_vs_all"): MulticlassHinge<OneVsAll>,
    Multilabel("multilabel"): MultilabelMargin,
    Categorical("categorical"): CategoricalHinge,
    Listwise("listwise"): ListwiseHinge,
    Lovasz("lovasz"): LovaszHinge,
    Triplet("triplet"): TripletMargin,
    Cosine("cosine"): CosineEmbedding,
}

/// Written as an object with one entry, the loss's name with its options.
impl Serialize for Box<dyn Loss> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Loss is sealed, and the list above has every implementation.
        let loss = SavedLoss::of(self.as_ref()).ok_or_else(|| serde::ser::Error::custom("a loss without a name"))?;
        loss.serialize(serializer)
    }
}

/// The options are read as they were written; [`Loss::check`] says whether they have a meaning.
impl<'de> Deserialize<'de> for Box<dyn Loss> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SavedLoss::deserialize(deserializer).map(SavedLoss::boxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::SHADERS;
    use crate::{Kink, Penalty};

    #[test]
    fn every_loss_is_read_as_it_was_written() {
        let losses: [Box<dyn Loss>; 14] = [
            Box::new(BinaryHinge::new().margin(0.1).penalty(Penalty::smooth(0.3)).ignore_index(-7)),
            Box::new(EmbeddingHinge::new().kink(Kink::Half)),
            Box::new(MarginRanking::new().margin(f64::MIN_POSITIVE)),
            Box::new(MulticlassHinge::crammer_singer().class_weights([0.1, 0.7])),
            Box::new(MulticlassHinge::weston_watkins().margin_matrix([0.0, 0.3, 1.0 / 3.0, 0.0])),
            Box::new(MulticlassHinge::lee_lin_wahba()),
            Box::new(MulticlassHinge::top_k(3)),
            Box::new(MulticlassHinge::one_vs_all()),
            Box::new(MultilabelMargin::new()),
            Box::new(CategoricalHinge::new()),
            Box::new(ListwiseHinge::new()),
            Box::new(LovaszHinge::new()),
            Box::new(TripletMargin::new().swap(true)),
            Box::new(CosineEmbedding::new()),
        ];
        for loss in &losses {
            let text = serde_json::to_string(loss).unwrap();
            let read: Box<dyn Loss> = serde_json::from_str(&text).unwrap();
            assert!(read.equals(loss) && text.starts_with(&format!("{{\"{}\":", loss.name())), "{text}");
        }
        assert_eq!(losses.len(), SHADERS.len());
        for (one, other) in losses.iter().zip(&losses[1..]) {
            assert!(!one.equals(other));
        }
    }
}
