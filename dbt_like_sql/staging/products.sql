-- grain: product_id
-- One row per insurance product, latest state, with the limits of who may buy it.
with latest as (
    select * from raw.products
    qualify row_number() over (partition by product_id order by updated_at desc, dt desc) = 1
)

select
    product_id, -- The insurer's id of the product
    product_name, -- Name shown to buyers @not_null
    product_class, -- Line of business @not_null
    topics, -- Interests the product speaks to, separated by |; empty where unknown
    min_age, -- Youngest age that may buy; empty = no limit
    max_age, -- Oldest age that may buy; empty = no limit
    min_annual_income_fen, -- Lowest declared yearly income that may buy; empty = no limit
    annual_premium_fen, -- Typical yearly premium; empty where unknown
    is_on_sale, -- Whether new policies are sold @not_null
    description -- Insurer-approved text shown to buyers
from latest
