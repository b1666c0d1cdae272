"""Association rules: what people have together, at either firm and across both, beyond chance.

baskets       who has what, as numbers and bits
itemsets      frequent itemsets, exact: Apriori and Eclat
rules         rules made of them with support, confidence, lift, leverage; which are productive
activity      the null model: what chance gives somebody who has so many items
significance  each rule against it, and the false discovery share over all that were tried
findings      from the baskets of a day to its rules: scopes, what is excluded, limits
words         rules as sentences
tables        what the columns mean; the page's table and picture
"""
