//! What a stage takes and emits: frames of one payload, or of several by port.

use std::sync::Arc;

use crate::contain::Contained;
use crate::frame::{AnyFrame, Body, Frame, PayloadType};
use crate::key::Key;
use crate::payload::Payload;
use crate::port::Port;

/// What a stage takes: a payload, or an enum with a variant for each input port.
///
/// Every payload is the input of a stage with one port, which has no name. For several ports, `#[derive(Inputs)]` on an enum
/// whose variants each hold a [`Frame`]: a port is called as its variant is, in kebab-case. Edges lead to `stage.port`.
///
/// ```
/// use heqis_actors::{Frame, Inputs, Payload};
/// # #[derive(Payload)]
/// # struct Price(f64);
/// # #[derive(Payload)]
/// # struct Order(u32);
///
/// #[derive(Inputs)]
/// enum TradeIn {
///     LastPrice(Frame<Price>),
///     #[port(name = "orders", optional)]
///     Order(Frame<Order>),
/// }
///
/// let ports: Vec<_> = TradeIn::PORTS.iter().map(|port| (port.name, port.payload, port.optional)).collect();
/// assert_eq!(ports, [("last-price", "price", false), ("orders", "order", true)]);
/// ```
///
/// `name` gives a port another name, and `optional` lets it be without an edge. `Stage::process` then
/// gets the enum, which says by which port a frame came:
///
/// ```
/// # use heqis_actors::{Emitter, Frame, GraphBuilder, Inputs, Outputs, Payload, Stage, StageError};
/// # #[derive(Payload)]
/// # struct Price(f64);
/// # #[derive(Payload)]
/// # struct Order(u32);
/// #[derive(Payload)]
/// struct Trade(u32, f64);
///
/// #[derive(Inputs)]
/// enum TradeIn {
///     Prices(Frame<Price>),
///     Orders(Frame<Order>),
/// }
///
/// /// Executes each order at the last price.
/// #[derive(Default)]
/// struct Execute(Option<f64>);
///
/// impl Stage for Execute {
///     type Config = ();
///     type In = TradeIn;
///     type Out = Trade;
///
///     fn process(&mut self, input: &TradeIn, out: &mut Emitter<'_, Trade>) -> Result<(), StageError> {
///         match input {
///             TradeIn::Prices(price) => self.0 = Some(price.0),
///             TradeIn::Orders(order) => {
///                 let price = self.0.ok_or_else(|| StageError::refused("there is no price yet"))?;
///                 out.emit(order.head(), Trade(order.0, price));
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let graph = GraphBuilder::new("trades")
///     .source_iter("prices", [9.5, 9.6].map(Price))
///     .source_iter("orders", [100].map(Order))
///     .stage_with("execute", |_| Ok(Execute::default()))
///     .sink_fn("print", |trade: &Frame<Trade>| println!("{} at {}", trade.0, trade.1))
///     .chain(&["prices", "execute.prices"])
///     .chain(&["orders", "execute.orders"])
///     .chain(&["execute", "print"]);
/// assert!(graph.check().is_empty());
/// ```
///
/// A variant that holds anything but a frame is refused by the compiler:
///
/// ```compile_fail
/// # use heqis_actors::{Inputs, Payload};
/// # #[derive(Payload)]
/// # struct Price(f64);
/// #[derive(Inputs)]
/// enum TradeIn {
///     Prices(Price),
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a payload nor an enum of input ports",
    note = "derive `Payload` for one port, or `Inputs` on an enum whose variants each hold a `Frame`"
)]
pub trait Inputs: Sized + 'static {
    /// What `Stage::process` gets: `Frame<P>` of a payload `P`, or the enum itself.
    type Frame: 'static;

    /// The ports, in the order of the variants.
    const PORTS: &'static [Port];

    /// The frame that came by the port with this index, or the frame again when it has another payload.
    #[doc(hidden)]
    fn arrive(port: usize, frame: AnyFrame) -> Result<Self::Frame, AnyFrame>;

    #[doc(hidden)]
    fn into_any(frame: Self::Frame) -> AnyFrame;

    #[doc(hidden)]
    fn payload_types() -> Vec<PayloadType>;
}

impl<P: Payload> Inputs for P {
    type Frame = Frame<P>;
    const PORTS: &'static [Port] = Port::only::<P>();

    fn arrive(_: usize, frame: AnyFrame) -> Result<Frame<P>, AnyFrame> {
        Frame::typed(frame)
    }

    fn into_any(frame: Frame<P>) -> AnyFrame {
        frame.into_any()
    }

    fn payload_types() -> Vec<PayloadType> {
        vec![PayloadType::declared::<P>()]
    }
}

/// What a stage emits: a payload, or an enum with a variant for each output port.
///
/// Every payload is the output of a stage with one port, which has no name. For several ports, `#[derive(Outputs)]` on an enum
/// whose variants each hold a payload, or a [`Frame`], whose payload then leaves without a copy. What is emitted goes to the
/// edges of its port alone. The attributes are those of [`Inputs`]; an `optional` port without an edge drops its frames.
///
/// ```
/// use heqis_actors::{Emitter, Frame, Outputs, Payload, Stage, StageError};
/// # #[derive(Clone, Payload)]
/// # struct Price(f64);
/// #[derive(Payload)]
/// struct Alarm(String);
///
/// #[derive(Outputs)]
/// enum WatchOut {
///     Prices(Frame<Price>),
///     #[port(optional)]
///     Alarms(Alarm),
/// }
///
/// struct Watch(f64);
///
/// impl Stage for Watch {
///     type Config = ();
///     type In = Price;
///     type Out = WatchOut;
///
///     fn process(&mut self, price: &Frame<Price>, out: &mut Emitter<'_, WatchOut>) -> Result<(), StageError> {
///         if price.0 > self.0 {
///             out.emit(price.head(), WatchOut::Alarms(Alarm(format!("{} is above {}", price.0, self.0))));
///         }
///         out.emit(price.head(), WatchOut::Prices(price.clone()));
///         Ok(())
///     }
/// }
/// assert_eq!(WatchOut::PORTS.len(), 2);
/// ```
///
/// A payload of another port is refused by the compiler, as is one that has no port:
///
/// ```compile_fail
/// # use heqis_actors::{Emitter, Head, Outputs, Payload};
/// # #[derive(Payload)]
/// # struct Price(f64);
/// # #[derive(Payload)]
/// # struct Order(u32);
/// #[derive(Outputs)]
/// enum SplitOut {
///     Up(Price),
///     Down(Price),
/// }
///
/// fn emit(parent: &Head, order: Order, out: &mut Emitter<'_, SplitOut>) {
///     out.emit(parent, SplitOut::Up(order));
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a payload nor an enum of output ports",
    note = "derive `Payload` for one port, or `Outputs` on an enum whose variants each hold a payload or a `Frame`"
)]
pub trait Outputs: Sized + 'static {
    /// The ports, in the order of the variants.
    const PORTS: &'static [Port];

    #[doc(hidden)]
    fn leave(self) -> Leaving;

    #[doc(hidden)]
    fn payload_types() -> Vec<PayloadType>;
}

impl<P: Payload> Outputs for P {
    const PORTS: &'static [Port] = Port::only::<P>();

    fn leave(self) -> Leaving {
        self.leave_by(0)
    }

    fn payload_types() -> Vec<PayloadType> {
        vec![PayloadType::declared::<P>()]
    }
}

/// What a variant of [`Inputs`] holds.
#[doc(hidden)]
#[diagnostic::on_unimplemented(message = "a variant of `Inputs` holds a `Frame`, not `{Self}`")]
pub trait Arriving: Sized {
    type Payload: Payload;
    fn arrive(frame: AnyFrame) -> Result<Self, AnyFrame>;
    fn into_any(self) -> AnyFrame;
    fn payload_type() -> PayloadType {
        PayloadType::declared::<Self::Payload>()
    }
}

impl<P: Payload> Arriving for Frame<P> {
    type Payload = P;

    fn arrive(frame: AnyFrame) -> Result<Self, AnyFrame> {
        Self::typed(frame)
    }

    fn into_any(self) -> AnyFrame {
        Self::into_any(self)
    }
}

/// What a variant of [`Outputs`] holds.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a variant of `Outputs` holds a payload or a `Frame`, not `{Self}`"
)]
pub trait Outgoing {
    type Payload: Payload;
    fn leave_by(self, port: u16) -> Leaving;
    fn payload_type() -> PayloadType {
        PayloadType::declared::<Self::Payload>()
    }
}

impl<P: Payload> Outgoing for P {
    type Payload = P;

    fn leave_by(self, port: u16) -> Leaving {
        Leaving {
            port,
            key: self.key(),
            body: Arc::new(Contained::new(self)),
        }
    }
}

impl<P: Payload> Outgoing for Frame<P> {
    type Payload = P;

    fn leave_by(self, port: u16) -> Leaving {
        Leaving {
            port,
            ..Leaving::of(&self.into_any())
        }
    }
}

/// A payload on its way out of a stage, with its port.
#[doc(hidden)]
pub struct Leaving {
    pub port: u16,
    pub key: Key,
    pub body: Arc<dyn Body>,
}

impl Leaving {
    /// The payload of a frame, which leaves by the first port.
    pub fn of(frame: &AnyFrame) -> Self {
        Self {
            port: 0,
            key: frame.head.key,
            body: frame.body.clone(),
        }
    }
}
