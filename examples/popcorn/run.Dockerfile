# Before the build: cp "$(npx pid1 run --print-path)" init
FROM node:24-slim
WORKDIR /popcorn
COPY init /init
COPY *.sh ./
ENTRYPOINT ["/init", "--"]
CMD ["sh", "popcorn.sh"]
