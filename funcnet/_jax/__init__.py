"""Everything that differs between JAX versions, and every use of JAX beyond its public functions.

The engine reads jaxprs: the programs, as data, that JAX's tracing makes of Python functions. Their
vocabulary is stable, their spelling is not. Equations, parameters and sub-programs get one spelling
here, so that no other file asks which JAX it runs on.

    tracing    where operations go that run now: computed, or recorded
    constants  numpy arrays in programs, in the precision that is on
    values     types and values of them: zeros, sums, dtypes, mutable arrays
    jaxprs     programs, open and closed, and those inside of equations
    lines      which line of the user's code an equation is of, and which function it calls
    equations  running one again, or writing it into a program
    custom     derivatives that users wrote: custom_vjp, linear_call, checkpoints
    foreign    primitives of others, and operations of hijax
    processes  what processes tell each other

In what JAX 0.10 and later versions differ, by who knows of it:

    jaxprs.scan_counts_of        `ft_in` in the place of a scan's `num_consts` and `num_carry`
    jaxprs.open_jaxpr            sub-programs that are one with their constants
    jaxprs.staged                constants as the first inputs, until they have values;
                                 so in with_constants, without_local_refs
    jaxprs.is_high               equations that are written out later, who ask for types or for parameters
    custom.mapped                results in a list, or in a tree of JAX's own
    custom.call_backward         a backward that returns a log beside its gradients
"""

from funcnet._jax.constants import in_float64
from funcnet._jax.custom import (
    as_cotangent,
    backward_function,
    backward_parameters,
    call,
    call_backward,
    checkpointed,
    is_gate,
    like,
    mapped,
    repeatable,
    residuals,
    saves,
    transposed_call,
    transposed_solve,
)
from funcnet._jax.equations import (
    Mark,
    Ready,
    Transparent,
    again,
    bind,
    context_of,
    emit,
    has_effects,
    parameters,
    planning,
    uses_a_ref,
)
from funcnet._jax.foreign import (
    IN_REF,
    NOT_WANTED,
    DontWant,
    author_of,
    expanded,
    foreign_primitives,
    hijax_forward,
    holds_a_rule,
    is_foreign,
    registered,
    rule_name,
)
from funcnet._jax.jaxprs import (
    Equation,
    Jaxpr,
    Var,
    all_equations,
    called,
    called_by,
    closed,
    is_high,
    is_literal,
    is_placed,
    open_jaxpr,
    part,
    programs,
    scan_counts,
    scan_counts_of,
    staged,
    variable,
    variables,
    with_constants,
    with_programs,
    without_constants,
    without_local_refs,
    without_refs,
)
from funcnet._jax.lines import (
    NAMED_CALLS,
    blamed_line,
    called_function,
    defined_in,
    definition,
    function_info,
    function_name,
    is_of_jax,
    is_scoped,
    jvp_place,
    line_with_library,
    name_of,
    nameless,
    readable,
    scope,
    source_line,
    with_users_line,
    written,
)
from funcnet._jax.processes import (
    put_word,
    words_under,
)
from funcnet._jax.tracing import (
    current_trace,
    eval_trace,
    evaluates,
    is_in_float64,
    is_writing,
    set_current_trace,
    trace_context,
    under_jit,
    writes,
)
from funcnet._jax.values import (
    UndefinedPrimal,
    Zero,
    add,
    as_value,
    bools,
    canonical,
    float0,
    has_own_tangents,
    in_dtype,
    internal_zero,
    is_of_numbers,
    is_ref,
    is_value,
    lying_as,
    symbolic_zero,
    type_of,
    varies_like,
    varying,
    weak,
    with_shape,
    zero_tangent,
    zeros,
)
