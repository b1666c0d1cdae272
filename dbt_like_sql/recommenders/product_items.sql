-- grain: item_id
-- One row per insurance product, latest state, in the words all recommenders share (item_id, title, topics, price_fen).
-- Trap: products no longer on sale are in here too, because people bought them; who may be offered what stands in
-- recommenders.product_eligibility.
select
    p.product_id as item_id, -- The product
    p.product_name as title, -- Name shown to buyers @not_null
    coalesce(p.topics, '') as topics, -- Interests the product speaks to, separated by |; empty where unknown @not_null
    p.annual_premium_fen as price_fen, -- Typical yearly premium; empty where unknown
    p.product_class, -- Line of business @not_null
    p.is_on_sale, -- Whether new policies are sold @not_null
    p.description -- Insurer-approved text shown to buyers
from staging.products as p
