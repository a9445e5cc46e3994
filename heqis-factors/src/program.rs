//! A graph made ready to run: the operations that the columns need, in order, with the rings that remember values.

use crate::fault::FactorError;
use crate::graph::{Graph, Node, Op, Recipe, Scale, Slot};
use crate::recursion::Recursion;

/// No ring, or no state.
const NONE: u32 = u32::MAX;
/// Largest number of values that one series remembers.
const MAX_STATE_VALUES: usize = 1_000_000;

/// One operation of a bar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) slot: usize,
    pub(crate) width: usize,
    /// Its indicator's place among the states.
    pub(crate) state: usize,
}

/// A slot whose earlier values cannot be computed again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) slot: usize,
    pub(crate) scale: Scale,
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) slots: usize,
    /// The values of constants; they are never computed.
    pub(crate) constants: Vec<(usize, f64)>,
    /// The operations by stage: those before any comparison across the day, the first comparisons, those that read them, and so on.
    pub(crate) stages: Vec<Vec<Step>>,
    /// The slots with a ring, and the number of values in it.
    pub(crate) rings: Vec<(usize, usize)>,
    ring_of: Vec<u32>,
    /// The rings of all slots but constants.
    pub(crate) moving: Vec<usize>,
    pub(crate) leaves: Vec<Leaf>,
    /// Whether rings other than those of leaves must be computed again for another price level.
    pub(crate) replays: bool,
    /// The indicators before the first bar, and what they are made of.
    pub(crate) recursions: Vec<(Recipe, Recursion)>,
    /// The scale of the one value that an indicator reads.
    pub(crate) scales: Vec<Scale>,
    /// The largest window of a quantile.
    pub(crate) widest: usize,
}

impl Program {
    pub(crate) fn new(graph: &Graph, outputs: &[Slot]) -> Result<Self, FactorError> {
        let used = used(graph, outputs);
        let nodes: Vec<&Node> = graph
            .nodes
            .iter()
            .filter(|node| used[node.slot as usize])
            .collect();
        let mut remembered = vec![0usize; graph.facts.len()];
        for node in &nodes {
            node.op.reads(|slot, bars| {
                let of = &mut remembered[slot as usize];
                *of = bars.max(*of);
            });
        }
        let slots_of = |node: &Node| node.slot as usize..node.slot as usize + node.width;
        // A value that is remembered for n bars is computed again from the leaves of `reach` more.
        let history = nodes
            .iter()
            .filter(|node| !node.op.is_leaf())
            .flat_map(|node| slots_of(node))
            .filter(|slot| remembered[*slot] > 0 && graph.facts[*slot].constant.is_none())
            .map(|slot| remembered[slot].saturating_add(graph.facts[slot].reach))
            .max()
            .unwrap_or(0);
        let mut program = Self {
            slots: graph.facts.len(),
            constants: Vec::new(),
            stages: Vec::new(),
            rings: Vec::new(),
            ring_of: vec![NONE; graph.facts.len()],
            moving: Vec::new(),
            leaves: Vec::new(),
            replays: history > 0,
            recursions: Vec::new(),
            scales: Vec::new(),
            widest: 0,
        };
        for node in nodes {
            program.add(graph, node, history, &remembered)?;
        }
        let values = program.rings.iter().map(|(_, capacity)| *capacity);
        let values = values.fold(0usize, usize::saturating_add);
        if values > MAX_STATE_VALUES {
            let rule = format!("must remember at most {MAX_STATE_VALUES} values of a series");
            return Err(FactorError::value("look-back", rule, values));
        }
        Ok(program)
    }

    fn add(
        &mut self,
        graph: &Graph,
        node: &Node,
        history: usize,
        remembered: &[usize],
    ) -> Result<(), FactorError> {
        let slot = node.slot as usize;
        let lines = slot..slot + node.width;
        for (slot, remembered) in lines.clone().zip(&remembered[lines]) {
            let facts = &graph.facts[slot];
            let mut capacity = *remembered;
            if node.op.is_leaf() {
                capacity = capacity.max(history);
                let scale = facts.scale;
                self.leaves.push(Leaf { slot, scale });
            }
            if capacity > 0 {
                self.ring_of[slot] = self.rings.len() as u32;
                if facts.constant.is_none() {
                    self.moving.push(self.rings.len());
                }
                self.rings.push((slot, capacity));
            }
        }
        if let Some(value) = graph.facts[slot].constant {
            self.constants.push((slot, value));
            return Ok(());
        }
        let mut state = NONE as usize;
        match node.op {
            Op::Indicator(recipe) => {
                state = self.recursions.len();
                self.recursions.push((recipe, recipe.make()?));
                self.scales.push(graph.fact(recipe.inputs[0]).scale);
            }
            Op::Quantile(_, n, _) => self.widest = self.widest.max(n),
            _ => {}
        }
        let stage = graph.facts[slot].stage;
        // A comparison across the day reads the stage before it, and is computed between the two.
        let place = match node.op {
            Op::Cross(..) | Op::Neutral(..) => 2 * stage - 1,
            _ => 2 * stage,
        };
        if self.stages.len() <= place {
            self.stages.resize(place + 1, Vec::new());
        }
        self.stages[place].push(Step {
            op: node.op,
            slot,
            width: node.width,
            state,
        });
        Ok(())
    }

    #[inline]
    pub(crate) fn ring_of(&self, slot: Slot) -> Option<usize> {
        let ring = self.ring_of[slot as usize];
        (ring != NONE).then_some(ring as usize)
    }

    /// Whether a column compares instruments across the day.
    pub(crate) fn compares(&self) -> bool {
        self.stages.len() > 1
    }
}

/// Which slots the outputs need, marked by the first slot of their operation.
fn used(graph: &Graph, outputs: &[Slot]) -> Vec<bool> {
    let mut used = vec![false; graph.facts.len()];
    for output in outputs {
        used[*output as usize] = true;
    }
    for node in graph.nodes.iter().rev() {
        let slots = node.slot as usize..node.slot as usize + node.width;
        if used[slots.clone()].contains(&true) {
            used[node.slot as usize] = true;
            node.op.reads(|slot, _| used[slot as usize] = true);
        }
    }
    used
}
